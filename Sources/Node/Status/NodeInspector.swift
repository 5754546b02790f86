import AdminAPI
import Coordination
import Gateway
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Pipeline

/// Gathers a node's metrics and status, for operators and for the other nodes. Never on the data path.
final class NodeInspector: NodeFacade {
    private let identity: NodeIdentity
    private let life: NodeLife
    private let limits: Limits
    private let gateway: Gateway
    private let sequencers: Sequencers
    private let log: any Log
    private let membership = NIOLockedValueBox(Membership())
    private let rates = NIOLockedValueBox(Rates())
    private let reportedError = NIOLockedValueBox<String?>(nil)

    /// What is made after the ports are bound.
    private struct Membership {
        var cluster: (any ClusterAdministration)?
        /// Nil for a node that is alone.
        var member: ClusterMember?
    }

    private struct Rates {
        var published = 0.0
        var delivered = 0.0
        var lastPublished: UInt64 = 0
        var lastDelivered: UInt64 = 0
        var lastSample: ContinuousClock.Instant?
    }

    init(identity: NodeIdentity, life: NodeLife, limits: Limits, gateway: Gateway, sequencers: Sequencers, log: any Log) {
        self.identity = identity
        self.life = life
        self.limits = limits
        self.gateway = gateway
        self.sequencers = sequencers
        self.log = log
    }

    /// From now on the API passes operators' requests to `cluster`.
    func join(_ cluster: any ClusterAdministration, member: ClusterMember?) {
        self.membership.withLockedValue { $0 = Membership(cluster: cluster, member: member) }
    }

    private var member: ClusterMember? { self.membership.withLockedValue { $0.member } }

    func snapshot() async -> NodeSnapshot {
        let rates = self.rates.withLockedValue { ($0.published, $0.delivered) }
        return NodeSnapshot(
            identity: self.identity, processState: self.life.state, startedAt: self.life.startedAt, uptimeSeconds: self.life.uptime.components.seconds,
            listen: self.gateway.listenAddress, api: self.gateway.apiAddress, parkedMax: self.limits.parkedPublishesMax, gateway: await self.gateway.metrics(),
            sequencer: await self.sequencers.metrics, parked: await self.sequencers.parkedEvents,
            log: await self.log.metrics, publishedPerSecond: rates.0, deliveredPerSecond: rates.1, member: await self.member?.snapshot())
    }

    // MARK: - For the API

    var cluster: (any ClusterAdministration)? { self.membership.withLockedValue { $0.cluster } }

    func status() async -> ByteBuffer { await self.snapshot().json }

    func metrics() async -> ByteBuffer { await self.snapshot().prometheus }

    var zooKeeper: (@Sendable () async -> ByteBuffer)? {
        guard let member = self.member else { return nil }
        return { await member.zooKeeperTerms().json }
    }

    func reasonNotReady() async -> String? {
        switch self.life.state {
        case .starting: return "this node starts"
        case .stopping: return "this node stops"
        case .ready: break
        }
        // A node that has seen the cluster once stays ready while ZooKeeper is away: otherwise all nodes would stop being ready together.
        if let summary = await self.member?.coordinator.summary {
            guard summary.hasJoined else { return "this node has not joined its cluster yet" + (summary.obstacle.map { ": \($0)" } ?? "") }
            if summary.isIsolated { return "this node has no link to any other member of its cluster" }
            if summary.isDraining { return "this node is drained; realertime undrain takes it back" }
        }
        return await self.log.metrics.error.map { "the log cannot be written: \($0)" }
    }

    // MARK: - For the cluster

    /// What the cluster hears of this node.
    func nodeMetrics() async -> NodeMetrics {
        let snapshot = await self.snapshot()
        var metrics = NodeMetrics()
        metrics.uptimeSeconds = snapshot.uptimeSeconds
        metrics.connections = snapshot.gateway.openSubscribers
        metrics.publishedPerSecond = NodeSnapshot.rounded(snapshot.publishedPerSecond)
        metrics.deliveredPerSecond = NodeSnapshot.rounded(snapshot.deliveredPerSecond)
        // Its session is in its report already, and is judged together with the sessions of all others.
        var process = snapshot
        process.member = nil
        let (health, reasons) = process.health
        metrics.health = health
        metrics.reasons = Array(reasons.prefix(10))
        return metrics
    }

    /// What the cluster of a node that is alone reports of its process.
    func process() async -> LoneCoordinator.Process {
        let state: NodeState =
            switch self.life.state {
            case .starting: .joining
            case .ready: .active
            case .stopping: .draining
            }
        return LoneCoordinator.Process(state: state, api: self.gateway.apiAddress, metrics: await self.nodeMetrics())
    }

    // MARK: - About once a second

    /// Measures what happened since the last call, by second.
    func sampleRates() async {
        let snapshot = await self.snapshot()
        let now = ContinuousClock.now
        self.rates.withLockedValue { rates in
            if let last = rates.lastSample {
                let elapsed = last.duration(to: now)
                let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
                rates.published = Double(snapshot.sequencer.published - rates.lastPublished) / seconds
                rates.delivered = Double(snapshot.gateway.fanout.delivered - rates.lastDelivered) / seconds
            }
            rates.lastPublished = snapshot.sequencer.published
            rates.lastDelivered = snapshot.gateway.fanout.delivered
            rates.lastSample = now
        }
    }

    /// Subscribers leave a node that is drained, and may stay on one that no longer is.
    func followDrain() async {
        guard let summary = await self.member?.coordinator.summary else { return }
        // A subscriber that the last node sends away comes back to it.
        self.gateway.setDraining(summary.isDraining && summary.hasOther)
    }

    /// Logs when the log fails, and when it works again.
    func reportLogError(to logger: Logger) async {
        let error = await self.log.metrics.error
        let reported = self.reportedError.withLockedValue { reported in
            defer { reported = error }
            return reported
        }
        guard error != reported else { return }
        if let error {
            logger.error("publishes are refused with 503, because the log cannot be written: \(error)")
        } else {
            logger.notice("the log can be written again")
        }
    }
}
