import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Who is up, by what the members say of each other: the suspect is the one that is not seen.
@Suite struct ClusterStatusPresenceTests {
    private func sightings(_ bench: ClusterMachineBench) throws -> [String: ClusterStatus.Sighting] {
        let view = try #require(bench.machine.view)
        let configuration = try #require(bench.machine.configuration)
        return bench.machine.status(view, configuration, at: bench.now).sightings()
    }

    private func presences(_ bench: ClusterMachineBench) throws -> [String: ClusterMembers.Presence] { try self.sightings(bench).mapValues(\.presence) }

    /// What the members report once n3 is silent: nobody reaches it.
    private func silence(_ bench: inout ClusterMachineBench, isRefused: Bool = false) {
        let lost = bench.process("n3")
        bench.handle(.linkDown(lost, isRefused: isRefused))
        for id in bench.otherMembers where id != "n3" {
            var report = bench.report(of: id)
            report.reached.removeAll { $0 == lost }
            if isRefused { report.refused = [lost] }
            bench.receive(.report(report), from: id)
        }
    }

    @Test func allAreUp() throws {
        #expect(try self.presences(ClusterMachineBench.controller(of: 3)) == ["n1": .up, "n2": .up, "n3": .up])
    }

    @Test func theSuspectIsTheOneThatIsNotSeen() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        self.silence(&bench)
        let sightings = try self.sightings(bench)
        #expect(sightings.mapValues(\.presence) == ["n1": .up, "n2": .up, "n3": .suspect])
        // Its own report from before is still counted.
        #expect(sightings["n3"] == .init(presence: .suspect, witnesses: 2, unseenBy: ["n1", "n2"]) && sightings["n1"]?.unseenBy == [])
    }

    @Test func oneThatOneOfTwoDoesNotSeeIsUp() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.handle(.linkDown(bench.process("n3"), isRefused: false))
        let sightings = try self.sightings(bench)
        #expect(sightings["n3"] == .init(presence: .up, witnesses: 2, unseenBy: ["n1"]))
    }

    @Test func oneWhosePortIsClosedIsDown() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        self.silence(&bench, isRefused: true)
        #expect(bench.state("n3") == .active)
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up, "n3": .down])
    }

    @Test func aNodeWithoutASessionIsDown() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.vanish("n3")
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up, "n3": .down])
    }

    @Test func oneThatDoesNotReportIsSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.advance(.seconds(4))
        bench.report(except: ["n3"])
        bench.advance(.seconds(2))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up, "n3": .suspect])
    }

    @Test func oneThatHasOnlyJustComeIsNoSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.advance(.seconds(10))
        bench.report()
        bench.addMember("n3", session: 300)
        bench.settle()
        #expect(bench.state("n3") == .joining)
        bench.handle(.linkUp(bench.process("n3")))
        #expect(try self.presences(bench)["n3"] == .up)
    }

    @Test func ofTwoTheControllerIsNotTheSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .suspect])
    }

    // MARK: - Without the controller

    @Test func aNodeAloneCountsWhatItReaches() throws {
        var bench = ClusterMachineBench.follower()
        bench.lose()
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up])
        let answer = bench.request(AdminRequest(.members))
        #expect(answer == nil, "the controller is asked over its link")
        bench.advance(.seconds(2))
        let members = try #require(bench.response(to: 1)?.json)
        #expect(members.contains("\"session\":\"lost\"") && members.ranges(of: "\"session\"").count == 1, "nothing is known of the session of n2: \(members)")
    }

    @Test func aNodeThatIsCutOffAccusesNoOther() throws {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        #expect(try self.presences(bench) == ["n1": .suspect, "n2": .unknown])
    }

    @Test func aClosedPortIsSeenByOneNodeAlone() throws {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .down])
    }
}
