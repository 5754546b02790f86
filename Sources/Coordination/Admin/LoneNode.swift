import AdminAPI
import Partitioning

/// A node without ZooKeeper is a cluster of one node, in which no operator can change anything. It responds like a controller whose view has one member that
/// owns every partition. A pure value.
struct LoneNode: Sendable {
    static let clusterName = "embedded"
    static let incarnation: Int64 = 1

    var id: String
    var version: String
    /// Milliseconds since 1970.
    var startedAt: Int64
    var api = ""
    var state = NodeState.joining
    var metrics = NodeMetrics()
    var wallClock: Int64 = 0
    /// The grants in the view. They never change.
    var grants = Grant.everyPartition()
    /// The grants that are served.
    var serving: [Grant] = []

    func response(to request: AdminRequest, at now: ContinuousClock.Instant) -> AdminResponse {
        let status = ClusterStatus(self, at: now)
        switch request.kind {
        case .status: return .status(status.overview)
        case .members: return .members(status.members)
        case .partitions: return .partitions(status.partitions)
        case .locate:
            guard let partition = request.partition, self.grants.indices.contains(partition) else {
                return .failed(.badRequest, "the field \"partition\" must be a number from 0 to \(self.grants.count - 1)")
            }
            return .partitions(status.location(of: partition, channel: request.channel))
        case .plan: return .plan(status.plan(PlanInput(view: self.view)))
        case .events: return .events(ClusterEvents(through: self.id, events: [self.joined].filter { $0.number > request.after ?? 0 }))
        case .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget:
            return .failed(.conflict, "this node is not in a cluster (zookeeper is not set): it owns every partition, and there is no other node")
        }
    }

    var view: ClusterView {
        ClusterView(
            version: 1, controllerEpoch: 1, writer: self.id, writtenAt: self.startedAt,
            nodes: [.init(id: self.id, incarnation: Self.incarnation, api: self.api, version: self.version, state: self.state)],
            partitions: self.grants.map { .init(owner: self.id, ownerEpoch: $0.ownerEpoch) })
    }

    var report: NodeReport {
        var report = NodeReport(incarnation: Self.incarnation, viewVersion: 1)
        report.serving = self.state == .active ? self.serving : []
        report.preparing = self.grants.count - report.serving.count
        report.metrics = self.metrics
        return report
    }

    private var joined: ClusterEvent {
        var event = ClusterEvent(
            kind: .joined, at: self.startedAt, node: self.id, viewVersion: 1, text: "this node is not in a cluster, and owns all partitions")
        event.number = 1
        return event
    }
}
