import AdminAPI
import Partitioning
import Testing

@testable import Coordination

/// Who is up, by what the members say of each other: the suspect is the one that is not seen.
@Suite struct ClusterStatusPresenceTests {
    private func sightings(_ stand: ClusterMachineStand) throws -> [String: ClusterStatus.Sighting] {
        let view = try #require(stand.machine.view)
        let configuration = try #require(stand.machine.configuration)
        return stand.machine.status(view, configuration, at: stand.now).sightings()
    }

    private func presences(_ stand: ClusterMachineStand) throws -> [String: ClusterMembers.Presence] { try self.sightings(stand).mapValues(\.presence) }

    /// What the members report once n3 is silent: nobody reaches it.
    private func silence(_ stand: inout ClusterMachineStand, isRefused: Bool = false) {
        let lost = ProcessID(id: "n3", incarnation: stand.incarnation("n3"))
        stand.handle(.linkDown(id: "n3", incarnation: lost.incarnation, isRefused: isRefused))
        for id in stand.otherMembers where id != "n3" {
            var report = stand.report(of: id)
            report.reached.removeAll { $0 == lost }
            if isRefused { report.refused = [lost] }
            stand.receive(.report(report), from: id)
        }
    }

    @Test func allAreUp() throws {
        #expect(try self.presences(ClusterMachineStand.controller(of: 3)) == ["n1": .up, "n2": .up, "n3": .up])
    }

    @Test func theSuspectIsTheOneThatIsNotSeen() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        self.silence(&stand)
        let sightings = try self.sightings(stand)
        #expect(sightings.mapValues(\.presence) == ["n1": .up, "n2": .up, "n3": .suspect])
        // Its own report from before is still counted.
        #expect(sightings["n3"] == .init(presence: .suspect, witnesses: 2, unseenBy: ["n1", "n2"]) && sightings["n1"]?.unseenBy == [])
    }

    @Test func oneThatOneOfTwoDoesNotSeeIsUp() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.handle(.linkDown(id: "n3", incarnation: stand.incarnation("n3"), isRefused: false))
        let sightings = try self.sightings(stand)
        #expect(sightings["n3"] == .init(presence: .up, witnesses: 2, unseenBy: ["n1"]))
    }

    @Test func oneWhosePortIsClosedIsDown() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        self.silence(&stand, isRefused: true)
        #expect(stand.state("n3") == .active)
        #expect(try self.presences(stand) == ["n1": .up, "n2": .up, "n3": .down])
    }

    @Test func aNodeWithoutASessionIsDown() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.vanish("n3")
        #expect(try self.presences(stand) == ["n1": .up, "n2": .up, "n3": .down])
    }

    @Test func oneThatDoesNotReportIsSuspect() throws {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.advance(.seconds(4))
        stand.report(except: ["n3"])
        stand.advance(.seconds(2))
        #expect(try self.presences(stand) == ["n1": .up, "n2": .up, "n3": .suspect])
    }

    @Test func oneThatHasOnlyJustComeIsNoSuspect() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.advance(.seconds(10))
        stand.report()
        stand.addMember("n3", session: 300)
        stand.settle()
        #expect(stand.state("n3") == .joining)
        stand.handle(.linkUp(id: "n3", incarnation: stand.incarnation("n3")))
        #expect(try self.presences(stand)["n3"] == .up)
    }

    @Test func ofTwoTheControllerIsNotTheSuspect() throws {
        var stand = ClusterMachineStand.controller(of: 2)
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        #expect(try self.presences(stand) == ["n1": .up, "n2": .suspect])
    }

    // MARK: - Without the controller

    @Test func aNodeAloneCountsWhatItReaches() throws {
        var stand = ClusterMachineStand.follower()
        stand.lose()
        #expect(try self.presences(stand) == ["n1": .up, "n2": .up])
        let answer = stand.ask(AdminRequest(.members))
        #expect(answer == nil, "the controller is asked over its link")
        stand.advance(.seconds(2))
        let members = try #require(stand.answer(to: 1)?.json)
        #expect(members.contains("\"session\":\"lost\"") && members.ranges(of: "\"session\"").count == 1, "nothing is known of the session of n2: \(members)")
    }

    @Test func aNodeThatIsCutOffAccusesNoOther() throws {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: false))
        #expect(try self.presences(stand) == ["n1": .suspect, "n2": .unknown])
    }

    @Test func aClosedPortIsSeenByOneNodeAlone() throws {
        var stand = ClusterMachineStand.follower()
        stand.handle(.linkDown(id: "n2", incarnation: stand.incarnation("n2"), isRefused: true))
        #expect(try self.presences(stand) == ["n1": .up, "n2": .down])
    }
}
