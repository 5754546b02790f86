import Partitioning
import Testing

@testable import Coordination

/// When `n1` complains about its controller `n2`, and when `n1` deposes it. Times are milliseconds.
@Suite struct ComplaintMachineTests {
    private static let start = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private static let controller = ControllerRecord(
        json: ControllerRecord.json(ProcessID(id: "n2", incarnation: 2), epoch: 4, epochVersion: 4, link: "n2:1", api: "n2:2"),
        stat: ZooKeeperStat(czxid: 9, mzxid: 9, version: 0, ephemeralOwner: 200))!

    private enum Link {
        case up
        /// There is no link. The port is open or does not respond.
        case down
        case refused(since: Int)
    }

    private struct Complaint {
        var from: String
        var incarnation: Int64?
        var epoch: Int32 = 4
        var at = 0
    }

    private static func time(_ milliseconds: Int) -> ContinuousClock.Instant { Self.start.advanced(by: .milliseconds(milliseconds)) }

    private static func incarnation(_ id: String) -> Int64 { Int64(id.dropFirst())! }

    /// A cluster of `count` active nodes, from `n1` on. The incarnation of each node is its number.
    private static func facts(members count: Int, _ links: [String: Link], at milliseconds: Int) -> ComplaintMachine.Facts {
        let nodes = (1...count).map { ClusterView.Node(id: "n\($0)", incarnation: Int64($0), state: .active) }
        let reaches = links.map { id, link in
            let incarnation = Self.incarnation(id)
            let reach =
                switch link {
                case .up: LinkReach(incarnation: incarnation, isUp: true, since: Self.start)
                case .down: LinkReach(incarnation: incarnation, isUp: false, since: Self.start)
                case .refused(let since): LinkReach(incarnation: incarnation, isUp: false, since: Self.start, refusedSince: Self.time(since))
                }
            return (id, reach)
        }
        return .init(
            now: Self.time(milliseconds), settings: Self.settings, incarnation: 1,
            view: ClusterView(version: 1, controllerEpoch: 4, writer: "", nodes: nodes, partitions: []), links: Dictionary(uniqueKeysWithValues: reaches))
    }

    private struct Row {
        var name: String
        var members: Int
        var links: [String: Link]
        var complaints: [Complaint] = []
        var at: Int
        var complainTo: [String] = []
        var deposes: String?
        var wake: Int?
    }

    /// In each row, the last message of the controller came at 0.
    private static let rows: [Row] = [
        Row(name: "a controller that has sent a message less than 5 s ago causes no complaint", members: 2, links: ["n2": .up], at: 1000, wake: 5000),
        Row(name: "a controller that was not dialled causes no complaint", members: 3, links: ["n3": .up], at: 9000),
        Row(name: "a refused connection may be a restart", members: 2, links: ["n2": .refused(since: 0)], at: 299, wake: 300),
        Row(
            name: "with two members, one complaint is enough if the port is closed", members: 2, links: ["n2": .refused(since: 0)], at: 300,
            deposes: "controller n2 refuses connections from 1 of 1 members; its znode is removed", wake: 1300),
        Row(name: "with two members, one complaint is not enough if the controller is silent", members: 2, links: ["n2": .up], at: 5000, wake: 6000),
        Row(
            name: "with three members, one complaint is not enough", members: 3, links: ["n2": .refused(since: 0), "n3": .up], at: 300, complainTo: ["n3"],
            wake: 1300),
        Row(
            name: "with three members, two complaints are enough", members: 3, links: ["n2": .refused(since: 0), "n3": .up], complaints: [.init(from: "n3")],
            at: 300,
            complainTo: ["n3"], deposes: "controller n2 refuses connections from 2 of 2 members; its znode is removed", wake: 1300),
        Row(
            name: "a complaint about an earlier controller does not count", members: 3, links: ["n2": .refused(since: 0), "n3": .up],
            complaints: [.init(from: "n3", epoch: 3)], at: 300, complainTo: ["n3"], wake: 1300),
        Row(
            name: "a complaint from an earlier process does not count", members: 3, links: ["n2": .refused(since: 0), "n3": .up],
            complaints: [.init(from: "n3", incarnation: 99)], at: 300, complainTo: ["n3"], wake: 1300),
        Row(
            name: "a complaint that was not repeated for three seconds does not count", members: 3, links: ["n2": .refused(since: 0), "n3": .up],
            complaints: [.init(from: "n3", at: 0)], at: 3000, complainTo: ["n3"], wake: 4000),
        Row(
            name: "two of four voters are not more than half", members: 5, links: ["n2": .up, "n3": .up, "n4": .up, "n5": .up],
            complaints: [.init(from: "n3", at: 5000)], at: 5000, complainTo: ["n3", "n4", "n5"], wake: 6000),
        Row(
            name: "three of four voters are more than half", members: 5, links: ["n2": .up, "n3": .up, "n4": .up, "n5": .up],
            complaints: [.init(from: "n3", at: 5000), .init(from: "n4", at: 5000)], at: 5000, complainTo: ["n3", "n4", "n5"],
            deposes: "controller n2 has not replied to 3 of 4 members; its znode is removed", wake: 6000),
        Row(
            name: "a node that reaches less than half of the members deposes no controller", members: 5,
            links: ["n2": .down, "n3": .up, "n4": .down, "n5": .down],
            complaints: [.init(from: "n3", at: 5000), .init(from: "n4", at: 5000)], at: 5000, complainTo: ["n3"], wake: 6000),
        Row(
            name: "a dead member has no vote", members: 4, links: ["n2": .up, "n3": .up, "n4": .refused(since: 4000)],
            complaints: [.init(from: "n3", at: 5000)], at: 5000, complainTo: ["n3"],
            deposes: "controller n2 has not replied to 2 of 2 members; its znode is removed", wake: 6000),
    ]

    @Test(arguments: rows.indices) func eachSituationHasItsDecision(_ index: Int) {
        let row = Self.rows[index]
        var machine = ComplaintMachine()
        machine.receivedMessage(of: Self.controller, at: Self.start)
        for complaint in row.complaints {
            let peer = ProcessID(id: complaint.from, incarnation: complaint.incarnation ?? Self.incarnation(complaint.from))
            machine.receivedComplaint(from: peer, epoch: complaint.epoch, at: Self.time(complaint.at))
        }
        let decision = machine.decide(about: Self.controller, Self.facts(members: row.members, row.links, at: row.at))
        #expect(decision == .init(complainTo: row.complainTo, deposes: row.deposes, wake: row.wake.map(Self.time)), "\(row.name)")
    }

    @Test func aComplaintIsRepeatedEverySecond() {
        var machine = ComplaintMachine()
        let links: [String: Link] = ["n2": .refused(since: 0), "n3": .up]
        let sent = [300, 700, 1299, 1300, 2000, 2300].filter {
            !machine.decide(about: Self.controller, Self.facts(members: 3, links, at: $0)).complainTo.isEmpty
        }
        #expect(sent == [300, 1300, 2300])
    }

    @Test func aMessageOfTheControllerEndsTheComplaint() {
        var machine = ComplaintMachine()
        let links: [String: Link] = ["n2": .up, "n3": .up]
        #expect(machine.decide(about: Self.controller, Self.facts(members: 3, links, at: 0)) == .init(wake: Self.time(5000)))
        #expect(machine.decide(about: Self.controller, Self.facts(members: 3, links, at: 5000)) == .init(complainTo: ["n3"], wake: Self.time(6000)))
        machine.receivedMessage(of: Self.controller, at: Self.time(5500))
        #expect(machine.decide(about: Self.controller, Self.facts(members: 3, links, at: 6000)) == .init(wake: Self.time(10_500)))
    }
}
