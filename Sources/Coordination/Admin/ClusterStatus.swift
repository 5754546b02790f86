import AdminAPI
import Partitioning

/// The cluster as one node sees it, with its judgement: what `status`, `members` and `partitions` report.
struct ClusterStatus {
    let view: ClusterView
    let configuration: ClusterConfiguration
    let ownID: String
    let controller: ControllerRecord?
    let isAuthoritative: Bool
    let session: ZooKeeperState
    /// Nil while this node is connected to ZooKeeper.
    let outage: ZooKeeperOutage?
    /// Why the controller did not answer itself; nil when it did.
    let whyAlone: String?
    let alarm: String?
    /// Why the controller cannot write a view.
    let obstacle: String?
    /// Nil where the controller is another node.
    let electedAt: ContinuousClock.Instant?
    let desired: [String: NodeRecord]
    private(set) var reports: [String: Leader.Received] = [:]
    /// What this node knows by itself, also while it is no member.
    let ownReport: NodeReport
    let now: ContinuousClock.Instant
    let wallClock: Int64
    private(set) var states: [PartitionState] = []
    /// Partitions that more than one node reports to serve under the view's owner epoch.
    private(set) var contested: Set<Int> = []
    /// Partitions that were granted a while ago and are not served.
    let unserved: [Int]

    /// A report older than this says nothing about now.
    static let reportAgeMax = Duration.seconds(5)

    init(
        _ machine: ClusterMachine, _ view: ClusterView, _ configuration: ClusterConfiguration, at now: ContinuousClock.Instant, whyAlone: String? = nil
    ) {
        self.view = view
        self.configuration = configuration
        self.ownID = machine.settings.id
        self.controller = machine.controller
        self.isAuthoritative = machine.isController
        self.session = machine.session
        self.outage = machine.outage
        self.whyAlone = machine.isController ? nil : whyAlone ?? machine.whyAlone
        self.alarm = machine.alarm
        self.obstacle = machine.obstacle
        self.electedAt = machine.leader?.electedAt
        self.desired = machine.leader?.nodes.mapValues(\.record) ?? [:]
        self.now = now
        self.unserved = machine.leader?.unservedTooLong(at: now).filter { view.partitions.indices.contains($0) } ?? []
        self.wallClock = machine.settings.wallClock()
        self.reports = machine.leader?.reports ?? [:]
        self.ownReport = machine.report(at: now, incarnation: machine.incarnation ?? view.node(machine.settings.id)?.incarnation ?? 0)
        // Its own is never out of date.
        if machine.incarnation != nil { self.reports[self.ownID] = Leader.Received(report: self.ownReport, at: now) }
        self.judgePartitions()
    }

    private mutating func judgePartitions() {
        var servers: [Int: [String]] = [:]
        // Without the controller and without ZooKeeper it cannot know which node owns what: it may have been paused, and others may own its partitions now.
        let known = self.outage == nil || self.isAuthoritative ? self.reports : [:]
        for (id, received) in known where self.isFresh(received) && self.view.node(id)?.incarnation == received.report.incarnation {
            for owned in received.report.serving
            where self.view.partitions.indices.contains(owned.partition) && self.view.partitions[owned.partition].ownerEpoch == owned.ownerEpoch {
                servers[owned.partition, default: []].append(id)
            }
        }
        self.states = self.view.partitions.enumerated().map { index, entry in
            guard let owner = entry.owner else { return .orphan }
            if entry.move != nil { return .moving }
            if servers[index]?.contains(owner) ?? false { return .served }
            return known[owner].map { self.isFresh($0) } ?? false ? .preparing : .unknown
        }
        self.contested = Set(servers.filter { $0.value.count > 1 }.keys)
    }

    func isFresh(_ received: Leader.Received) -> Bool { self.now < received.at.advanced(by: Self.reportAgeMax) }

    func count(_ state: PartitionState) -> Int { self.states.count { $0 == state } }
}
