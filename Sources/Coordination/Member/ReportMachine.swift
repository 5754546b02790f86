import Partitioning

/// Decides when this node reports to the controller, and creates the report. A pure value.
///
/// A change that affects handoffs or the judgement of links is reported immediately. Everything else is reported once a second.
struct ReportMachine: Sendable {
    /// The part of a report that the controller may wait for. A change of this part is reported immediately.
    private struct Urgent: Hashable, Sendable {
        struct Link: Hashable, Sendable {
            var isUp: Bool
            var isRefused: Bool
            var isUnreachable: Bool
        }

        var partitions: [Int: Ownership]
        var links: [String: Link]
        var controller: Int64?

        init(_ facts: Facts, _ unreachableMin: Duration) {
            // The start of a handoff is not urgent. Nor is the difference between the two states of a partition that is not served yet.
            self.partitions = facts.partitions.mapValues { held in
                Ownership(state: held.state == .sealing ? .granted : held.state, ownerEpoch: held.ownerEpoch)
            }
            self.links = facts.links.mapValues {
                Link(isUp: $0.isUp, isRefused: $0.refusedSince != nil, isUnreachable: $0.isUnreachable(for: unreachableMin, at: facts.now))
            }
            self.controller = facts.controller?.incarnation
        }
    }

    struct Facts {
        let now: ContinuousClock.Instant
        let incarnation: Int64
        let viewVersion: Int64
        let partitions: [Int: Ownership]
        let links: [String: LinkReach]
        let controller: ControllerRecord?
        let session: ZooKeeperState
        let alarm: String?
    }

    private let interval: Duration
    private let unreachableMin: Duration
    private(set) var metrics = NodeMetrics()
    private var last: (at: ContinuousClock.Instant, urgent: Urgent)?

    init(settings: ClusterSettings) {
        self.interval = settings.reportInterval
        self.unreachableMin = settings.unreachableMin
    }

    mutating func measured(_ metrics: NodeMetrics) { self.metrics = metrics }

    /// The report if it is due, and the time of the next report.
    mutating func next(_ facts: Facts) -> (report: NodeReport?, wake: ContinuousClock.Instant) {
        let urgent = Urgent(facts, self.unreachableMin)
        // A peer that becomes unreachable causes a report, although no event happens at that time.
        let due = facts.links.values.filter { !$0.isUp }.map { $0.since.advanced(by: self.unreachableMin) }.filter { $0 > facts.now }.min()
        func wake(_ regular: ContinuousClock.Instant) -> ContinuousClock.Instant { due.map { min($0, regular) } ?? regular }
        if let last, facts.now < last.at.advanced(by: self.interval), last.urgent == urgent { return (nil, wake(last.at.advanced(by: self.interval))) }
        self.last = (facts.now, urgent)
        return (self.report(facts), wake(facts.now.advanced(by: self.interval)))
    }

    func report(_ facts: Facts) -> NodeReport {
        var report = NodeReport(incarnation: facts.incarnation, viewVersion: facts.viewVersion)
        for (partition, held) in facts.partitions.sorted(by: { $0.key < $1.key }) {
            let owned = Grant(partition: partition, ownerEpoch: held.ownerEpoch)
            switch held.state {
            case .granted, .sealing, .reclaiming: report.preparing += 1
            case .serving: report.serving.append(owned)
            case .sealed: report.sealed.append(owned)
            }
        }
        for (id, reach) in facts.links.sorted(by: { $0.key < $1.key }) {
            let peer = ProcessID(id: id, incarnation: reach.incarnation)
            if reach.isUp { report.reached.append(peer) }
            if reach.refusedSince != nil { report.refused.append(peer) }
            if reach.isUnreachable(for: self.unreachableMin, at: facts.now) { report.unreachable.append(peer) }
        }
        report.session = facts.session.phase.name
        report.metrics = self.metrics
        report.alarm = facts.alarm
        return report
    }
}
