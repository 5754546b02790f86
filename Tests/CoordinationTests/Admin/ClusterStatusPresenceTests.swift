import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// The presence of each node, from the members' reports. A node is suspect if most of the other members do not reach it.
@Suite struct ClusterStatusPresenceTests {
    private func sightings(_ bench: ClusterMachineBench) throws -> [String: ClusterStatus.Sighting] {
        let view = try #require(bench.machine.view)
        let configuration = try #require(bench.machine.configuration)
        return bench.machine.status(view, configuration, at: bench.now).sightings()
    }

    private func presences(_ bench: ClusterMachineBench) throws -> [String: ClusterMembers.Presence] { try self.sightings(bench).mapValues(\.presence) }

    /// n3 is silent: all other members report that they do not reach it.
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

    @Test func aNodeThatNoOtherMemberReachesIsSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        self.silence(&bench)
        let sightings = try self.sightings(bench)
        #expect(sightings.mapValues(\.presence) == ["n1": .up, "n2": .up, "n3": .suspect])
        // The last report of n3 still counts. In this report, n3 reaches n1.
        #expect(sightings["n3"] == .init(presence: .suspect, witnesses: 2, unseenBy: ["n1", "n2"]) && sightings["n1"]?.unseenBy == [])
    }

    @Test func aNodeThatOneOfTwoMembersReachesIsUp() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.handle(.linkDown(bench.process("n3"), isRefused: false))
        let sightings = try self.sightings(bench)
        #expect(sightings["n3"] == .init(presence: .up, witnesses: 2, unseenBy: ["n1"]))
    }

    @Test func aNodeThatRefusesConnectionsIsDown() throws {
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

    @Test func aNodeThatDoesNotReportIsSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.advance(.seconds(4))
        bench.report(except: ["n3"])
        bench.advance(.seconds(2))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up, "n3": .suspect])
    }

    @Test func aNodeThatHasJustJoinedIsNotSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.advance(.seconds(10))
        bench.report()
        bench.addMember("n3", session: 300)
        bench.settle()
        #expect(bench.state("n3") == .joining)
        bench.handle(.linkUp(bench.process("n3")))
        #expect(try self.presences(bench)["n3"] == .up)
    }

    @Test func withTwoNodesTheControllerIsNotTheSuspect() throws {
        var bench = ClusterMachineBench.controller(of: 2)
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .suspect])
    }

    // MARK: - Without the controller

    @Test func withoutAControllerANodeUsesItsOwnLinks() throws {
        var bench = ClusterMachineBench.follower()
        bench.lose()
        #expect(try self.presences(bench) == ["n1": .up, "n2": .up])
        let answer = bench.request(AdminRequest(.members))
        #expect(answer == nil, "the request is forwarded to the controller")
        bench.advance(.seconds(2))
        let members = try #require(bench.response(to: 1)?.json)
        #expect(members.contains("\"session\":\"lost\"") && members.ranges(of: "\"session\"").count == 1, "n1 cannot know the session of n2: \(members)")
    }

    @Test func aNodeThatIsCutOffSuspectsOnlyItself() throws {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: false))
        #expect(try self.presences(bench) == ["n1": .suspect, "n2": .unknown])
    }

    @Test func oneNodeIsEnoughToSeeAClosedPort() throws {
        var bench = ClusterMachineBench.follower()
        bench.handle(.linkDown(bench.process("n2"), isRefused: true))
        #expect(try self.presences(bench) == ["n1": .up, "n2": .down])
    }
}
