import AdminAPI
import Coordination
import Gateway
import JSON
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Pipeline
import Relay

/// Collects a node's metrics and status, for operators and for the controller. No event passes through this class.
final class NodeInspector: NodeFacade {
    private let identity: NodeIdentity
    private let life: NodeLife
    private let limits: Limits
    private let gateway: Gateway
    private let sequencers: Sequencers
    /// Nil for a node outside a cluster.
    private let relays: Relays?
    private let log: any Log
    private let membership = NIOLockedValueBox(Membership())
    private let rates = NIOLockedValueBox(Rates())
    private let reportedError = NIOLockedValueBox<String?>(nil)

    /// The parts that are created after the ports are bound.
    private struct Membership {
        var cluster: (any ClusterAdministration)?
        /// Nil for a node outside a cluster.
        var member: ClusterMember?
    }

    private struct Rates {
        var published = 0.0
        var delivered = 0.0
        var lastPublished: UInt64 = 0
        var lastDelivered: UInt64 = 0
        var lastSample: ContinuousClock.Instant?
        var relay = RelayHealth()
    }

    init(identity: NodeIdentity, life: NodeLife, limits: Limits, gateway: Gateway, sequencers: Sequencers, relays: Relays?, log: any Log) {
        self.identity = identity
        self.life = life
        self.limits = limits
        self.gateway = gateway
        self.sequencers = sequencers
        self.relays = relays
        self.log = log
    }

    /// After this call the API passes operators' requests to `cluster`.
    func join(_ cluster: any ClusterAdministration, member: ClusterMember?) {
        self.membership.withLockedValue { $0 = Membership(cluster: cluster, member: member) }
    }

    private var member: ClusterMember? { self.membership.withLockedValue { $0.member } }

    func processStatus() async -> ProcessStatus {
        let rates = self.rates.withLockedValue { ($0.published, $0.delivered, $0.relay.reasons) }
        return ProcessStatus(
            identity: self.identity, processState: self.life.state, startedAt: self.life.startedAt, uptimeSeconds: self.life.uptime.components.seconds,
            listen: self.gateway.listenAddress, api: self.gateway.apiAddress, parkedMax: self.limits.parkedPublishesMax, gateway: await self.gateway.metrics(),
            sequencer: await self.sequencers.metrics, parkedBySequencer: await self.sequencers.parkedEvents,
            log: await self.log.metrics, publishedPerSecond: rates.0, deliveredPerSecond: rates.1, member: await self.member?.status(),
            relay: await self.relays?.metrics,
            relayReasons: rates.2)
    }

    // MARK: - For the API

    var cluster: (any ClusterAdministration)? { self.membership.withLockedValue { $0.cluster } }

    func status() async -> ByteBuffer { await self.processStatus().json }

    func metrics() async -> ByteBuffer { await self.processStatus().prometheus }

    var zooKeeper: (@Sendable () async -> ByteBuffer)? {
        guard let member = self.member else { return nil }
        return {
            var writer = JSONWriter(ByteBuffer())
            await member.zooKeeperLimits().write(to: &writer)
            return writer.sink
        }
    }

    func reasonNotReady() async -> String? {
        switch self.life.state {
        case .starting: return "node is starting; retry in a moment"
        case .stopping: return "node is stopping"
        case .ready: break
        }
        // A node that has joined stays ready while ZooKeeper is unreachable. Otherwise all nodes would become unready together.
        if let summary = await self.member?.coordinator.summary {
            guard summary.hasJoined else { return "node has not joined its cluster yet" + (summary.obstacle.map { ": \($0)" } ?? "") }
            if summary.isIsolated { return "node has no link to any other member of its cluster" }
            if summary.isDraining { return "node is drained; run realertime undrain to use the node again" }
        }
        return await self.log.metrics.error.map { "the log cannot be written: \($0)" }
    }

    // MARK: - For the cluster

    /// The metrics in this node's report to the controller.
    func nodeMetrics() async -> NodeMetrics {
        let status = await self.processStatus()
        var metrics = NodeMetrics()
        metrics.uptimeSeconds = status.uptimeSeconds
        metrics.connections = status.gateway.openSubscribers
        metrics.publishedPerSecond = ProcessStatus.rounded(status.publishedPerSecond)
        metrics.deliveredPerSecond = ProcessStatus.rounded(status.deliveredPerSecond)
        // Problems of the ZooKeeper session are left out, because the report already contains the session. The controller compares the sessions of all nodes.
        var process = status
        process.member = nil
        let (health, reasons) = process.health
        metrics.health = health
        metrics.reasons = Array(reasons.prefix(10))
        return metrics
    }

    /// The state of this process, for the coordinator of a node outside a cluster.
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

    /// Computes the rates since the last call.
    func sampleRates() async {
        let status = await self.processStatus()
        let now = ContinuousClock.now
        self.rates.withLockedValue { rates in
            if let last = rates.lastSample {
                let elapsed = last.duration(to: now)
                let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
                rates.published = Double(status.sequencer.published - rates.lastPublished) / seconds
                rates.delivered = Double(status.gateway.fanout.delivered - rates.lastDelivered) / seconds
            }
            rates.lastPublished = status.sequencer.published
            rates.lastDelivered = status.gateway.fanout.delivered
            rates.lastSample = now
            if let relay = status.relay, status.member?.summary.hasJoined == true {
                rates.relay.sample(expired: relay.expired, unrouted: relay.unrouted, now: now)
            }
        }
    }

    /// Asks subscribers to reconnect while the node is drained.
    func followDrain() async {
        guard let summary = await self.member?.coordinator.summary else { return }
        // Without another node, subscribers would reconnect to this node.
        self.gateway.setDraining(summary.isDraining && summary.hasOther)
    }

    /// Logs when writing the log fails, and when it works again.
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
            logger.notice("writing to the log works again; publishes are accepted")
        }
    }
}
