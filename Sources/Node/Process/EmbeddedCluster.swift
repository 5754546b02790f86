import AdminAPI
import Coordination
import Gateway
import JSON
import Partitioning

/// The cluster that a node is by itself, without ZooKeeper: it owns everything, and nothing about that can be changed.
struct EmbeddedCluster: ClusterAdministration {
    let inspector: NodeInspector

    var partitionCount: Int { Partitions.countByDefault }

    func respond(to request: AdminRequest) async -> AdminResponse {
        guard !request.kind.changes else {
            return .failed(.conflict, "this node is alone (no --zookeeper): it owns every partition, and no other node can take one")
        }
        let member = EmbeddedMember(snapshot: await self.inspector.snapshot(), partitionCount: self.partitionCount)
        switch request.kind {
        case .members: return .members(member.members)
        case .partitions: return .partitions(member.partitions(0..<self.partitionCount))
        case .locate:
            let partition = request.partition ?? 0
            return .partitions(member.partitions(partition..<(partition + 1), channel: request.channel))
        case .plan: return .plan(ClusterPlan(head: member.head))
        case .events: return .events(member.events(after: request.after ?? 0))
        case .status, .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget: return .status(member.overview)
        }
    }
}

/// What the one member of an embedded cluster reports, in the words of a cluster's controller.
private struct EmbeddedMember {
    let snapshot: NodeSnapshot
    let partitionCount: Int

    private var id: String { self.snapshot.identity.id }
    private var api: String { self.snapshot.api }
    private var uptimeSeconds: Int { Int(self.snapshot.uptimeSeconds) }
    private var isServing: Bool { self.snapshot.processState == .ready }
    private var served: Int { self.isServing ? self.partitionCount : 0 }
    private var state: NodeState {
        switch self.snapshot.processState {
        case .starting: .joining
        case .ready: .active
        case .stopping: .draining
        }
    }
    private var published: Double { (self.snapshot.publishedPerSecond * 10).rounded() / 10 }
    private var delivered: Double { (self.snapshot.deliveredPerSecond * 10).rounded() / 10 }

    var head: ClusterHead {
        ClusterHead(
            cluster: "embedded", through: self.id, authoritative: true, controller: .init(id: self.id, incarnation: 1, epoch: 1, api: self.api),
            coordination: .init(.healthy), mode: ClusterView.Mode.normal.rawValue, viewVersion: 1, viewAgeSeconds: self.uptimeSeconds)
    }

    var overview: ClusterOverview {
        let (health, reasons) = self.snapshot.health
        var partitions = ClusterOverview.Partitions()
        partitions.total = self.partitionCount
        partitions.served = self.served
        partitions.preparing = self.partitionCount - self.served
        return ClusterOverview(
            head: self.head, zookeeper: nil, nodes: NodeState.allCases.map { .init(state: $0.rawValue, count: $0 == self.state ? 1 : 0) },
            partitions: partitions, spread: 1, connections: self.snapshot.gateway.openSubscribers, publishedPerSecond: self.published,
            deliveredPerSecond: self.delivered, health: health, reasons: reasons, notices: [])
    }

    var members: ClusterMembers {
        let report = ClusterMembers.Report(
            uptimeSeconds: self.uptimeSeconds, session: nil, serving: self.served, connections: self.snapshot.gateway.openSubscribers,
            publishedPerSecond: self.published, deliveredPerSecond: self.delivered, viewVersion: 1, ageMilliseconds: 0, health: self.snapshot.health.0,
            alarm: nil, peers: 0, sees: 0, doesNotSee: [])
        let member = ClusterMembers.Member(
            id: self.id, state: self.state.rawValue, presence: .up, witnesses: 0, seenBy: 0, notSeenBy: [], desired: nil, zone: "", link: "", api: self.api,
            incarnation: 1, version: self.snapshot.identity.version, weight: 1, owned: self.partitionCount, share: 1, movingIn: 0, movingOut: 0,
            report: report)
        return ClusterMembers(head: self.head, members: [member])
    }

    func partitions(_ range: Range<Int>, channel: String? = nil) -> ClusterPartitions {
        ClusterPartitions(
            head: self.head, channel: channel,
            partitions: range.map { partition in
                .init(
                    partition: partition, owner: self.id, ownerEpoch: 1, state: self.isServing ? .served : .preparing, movingTo: nil, reason: nil,
                    isContested: false, pinnedTo: nil, api: self.api)
            })
    }

    func events(after number: Int64) -> ClusterEvents {
        guard number < 1 else { return ClusterEvents(through: self.id, events: []) }
        var event = ClusterEvent(
            kind: .joined, at: self.snapshot.startedAt, node: self.id, viewVersion: 1, text: "alone, and owns all partitions")
        event.number = 1
        return ClusterEvents(through: self.id, events: [event])
    }
}
