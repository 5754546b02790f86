import Coordination
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Pipeline

/// Gathers a node's figures from its loops. Never on the data path.
final class NodeInspector: Sendable {
    let sequencer: Sequencer
    let log: any Log
    private let shared: NodeShared
    private let loops: [NIOLoopBound<LoopContext>]
    private let eventLoops: [any EventLoop]
    private let rates = NIOLockedValueBox(Rates())
    private let reportedError = NIOLockedValueBox<String?>(nil)

    private struct Rates {
        var published = 0.0
        var delivered = 0.0
        var lastPublished: UInt64 = 0
        var lastDelivered: UInt64 = 0
        var lastSample: ContinuousClock.Instant?
    }

    init(sequencer: Sequencer, log: any Log, shared: NodeShared, loops: [NIOLoopBound<LoopContext>], eventLoops: [any EventLoop]) {
        self.sequencer = sequencer
        self.log = log
        self.shared = shared
        self.loops = loops
        self.eventLoops = eventLoops
    }

    func snapshot() async -> NodeSnapshot {
        var connections = ConnectionStatistics()
        var fanout = FanoutStatistics()
        for (bound, eventLoop) in zip(self.loops, self.eventLoops) {
            let figures = try? await eventLoop.submit { (bound.value.statistics, bound.value.fanout.onLoop { $0.currentStatistics }) }.get()
            if let figures {
                connections += figures.0
                fanout += figures.1
            }
        }
        let rates = self.rates.withLockedValue { ($0.published, $0.delivered) }
        return NodeSnapshot(
            shared: self.shared, loops: self.loops.count, connections: connections, fanout: fanout, sequencer: await self.sequencer.statistics,
            channels: await self.sequencer.channelCount, parked: await self.sequencer.parkedEvents, log: await self.log.statistics,
            counts: self.shared.connectionCounts, publishedPerSecond: rates.0, deliveredPerSecond: rates.1, member: await self.shared.member?.snapshot())
    }

    /// Called about once a second: what happened since the last call, by second.
    func sampleRates() async {
        let snapshot = await self.snapshot()
        let now = ContinuousClock.now
        self.rates.withLockedValue { rates in
            if let last = rates.lastSample {
                let elapsed = last.duration(to: now)
                let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
                rates.published = Double(snapshot.sequencer.published - rates.lastPublished) / seconds
                rates.delivered = Double(snapshot.fanout.delivered - rates.lastDelivered) / seconds
            }
            rates.lastPublished = snapshot.sequencer.published
            rates.lastDelivered = snapshot.fanout.delivered
            rates.lastSample = now
        }
    }

    /// Called about once a second: subscribers leave a node that is drained, and may stay on one that is taken back.
    func followDrain() async {
        guard let member = self.shared.member else { return }
        let summary = await member.coordinator.summary
        // Whoever is sent away from the last node comes back to it.
        let isDraining = summary.isDraining && summary.hasOther
        for (bound, eventLoop) in zip(self.loops, self.eventLoops) { eventLoop.execute { bound.value.setDraining(isDraining) } }
    }

    /// Called about once a second: when the log fails, and when it works again, are in the node's own log with their time.
    func reportLogError(to logger: Logger) async {
        let error = await self.log.statistics.error
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

    /// Why a load balancer should send nothing here; nil when it should.
    func reasonNotReady() async -> String? {
        switch self.shared.state {
        case .starting: return "this node starts"
        case .stopping: return "this node stops"
        case .ready: break
        }
        // Once it has seen the cluster it serves on, whatever becomes of ZooKeeper: all nodes would stop being ready together.
        if let summary = await self.shared.member?.coordinator.summary {
            guard summary.hasJoined else { return "this node has not joined its cluster yet" + (summary.obstacle.map { ": \($0)" } ?? "") }
            if summary.isIsolated { return "this node has no link to any other member of its cluster" }
            if summary.isDraining { return "this node is drained; realertime undrain takes it back" }
        }
        return await self.log.statistics.error.map { "the log cannot be written: \($0)" }
    }
}
