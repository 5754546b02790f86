import AdminAPI
import Partitioning

/// The state of the cluster as one node knows it, and the judgement of that state. The responses to `status`, `members` and `partitions` contain it.
struct ClusterStatus {
    let view: ClusterView
    let configuration: ClusterConfiguration
    let ownID: String
    let controller: ClusterHead.Controller?
    /// The address of the controller's link.
    let controllerLink: String?
    /// Whether this node is the controller.
    let isAuthoritative: Bool
    /// The state of the session with ZooKeeper. Nil for a node without ZooKeeper.
    let session: ZooKeeperState?
    /// The outage of ZooKeeper. Nil while this node is connected.
    let outage: ZooKeeperOutage?
    /// Why the response is not from the controller. Nil if it is from the controller.
    let noControllerReason: String?
    let alarm: String?
    /// Why the controller cannot write a view. Nil if it can.
    let obstacle: String?
    /// When this node was elected. Nil if this node is not the controller.
    let electedAt: ContinuousClock.Instant?
    let desired: [String: NodeRecord]
    private(set) var reports: [String: KnownNodes.Received] = [:]
    /// This node's report about itself. Also available while this node is not a member.
    let ownReport: NodeReport
    let now: ContinuousClock.Instant
    let wallClock: Int64
    private(set) var states: [PartitionState] = []
    /// Partitions that two nodes report as served under the view's owner epoch.
    let contested: Set<Int>
    /// Partitions that their owners have not served for ``UnservedPartitions/patience``.
    let unserved: [Int]

    init(
        view: ClusterView, configuration: ClusterConfiguration, ownID: String, controller: ControllerRecord?, controlling: ControllerMachine?,
        session: ZooKeeperState, outage: ZooKeeperOutage?, noControllerReason: String?, alarm: String?, obstacle: String?, isMember: Bool,
        ownReport: NodeReport,
        now: ContinuousClock.Instant, wallClock: Int64
    ) {
        self.view = view
        self.configuration = configuration
        self.ownID = ownID
        self.controller = controller.map { .init(id: $0.id, incarnation: Int($0.incarnation), epoch: Int($0.epoch), api: $0.api) }
        self.controllerLink = controller?.link
        self.isAuthoritative = controlling != nil
        self.session = session
        self.outage = outage
        self.noControllerReason = noControllerReason
        self.alarm = alarm
        self.obstacle = obstacle
        self.electedAt = controlling?.known.electedAt
        self.desired = controlling?.known.entries.mapValues(\.record) ?? [:]
        self.now = now
        self.contested = Set(controlling?.contested(in: view, at: now) ?? [])
        self.unserved = controlling?.unservedTooLong(at: now).filter { view.partitions.indices.contains($0) } ?? []
        self.wallClock = wallClock
        self.reports = controlling?.known.reports ?? [:]
        self.ownReport = ownReport
        // This node's own report is never outdated.
        if isMember { self.reports[ownID] = KnownNodes.Received(report: ownReport, at: now) }
        self.judgePartitions()
    }

    /// The status of a node without ZooKeeper: the controller of a cluster of one, with a view that grants it every partition.
    init(_ node: LoneNode, at now: ContinuousClock.Instant) {
        self.view = node.view
        self.configuration = ClusterConfiguration(clusterID: LoneNode.clusterName, partitionCount: node.view.partitions.count)
        self.ownID = node.id
        self.controller = .init(id: node.id, incarnation: Int(LoneNode.incarnation), epoch: 1, api: node.api)
        self.controllerLink = nil
        self.isAuthoritative = true
        self.session = nil
        self.outage = nil
        self.noControllerReason = nil
        self.alarm = nil
        self.obstacle = nil
        self.electedAt = nil
        self.desired = [:]
        self.now = now
        self.contested = []
        self.unserved = []
        self.wallClock = node.wallClock
        self.ownReport = node.report
        self.reports = [node.id: KnownNodes.Received(report: node.report, at: now)]
        self.judgePartitions()
    }

    private mutating func judgePartitions() {
        var served: Set<Int> = []
        // Without the controller and ZooKeeper, this node does not know the owners. Its process may have been paused, and other nodes may own its partitions.
        let known = self.outage == nil || self.isAuthoritative ? self.reports : [:]
        for (id, received) in known where self.isFresh(received) && self.view.node(id)?.incarnation == received.report.incarnation {
            for owned in received.report.serving where self.view.partitions.indices.contains(owned.partition) {
                let entry = self.view.partitions[owned.partition]
                if entry.owner == id, entry.ownerEpoch == owned.ownerEpoch { served.insert(owned.partition) }
            }
        }
        self.states = self.view.partitions.enumerated().map { index, entry in
            guard let owner = entry.owner else { return .orphan }
            if entry.move != nil { return .moving }
            if served.contains(index) { return .served }
            return known[owner].map { self.isFresh($0) } ?? false ? .preparing : .unknown
        }
    }

    func isFresh(_ received: KnownNodes.Received) -> Bool { self.now < received.at.advanced(by: NodeReport.ageMax) }

    func count(_ state: PartitionState) -> Int { self.states.count { $0 == state } }
}
