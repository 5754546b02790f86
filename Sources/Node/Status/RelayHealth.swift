/// What is wrong with the data path to other nodes, judged from samples taken about once a second. A pure value.
///
/// A partition that moves has no owner for a moment, and a publish that waits for the next owner succeeds. So only what lasts, or was refused, is a problem.
struct RelayHealth: Sendable {
    /// A partition may be without an owner for this time.
    static let unroutedSecondsMax = 5
    /// A refusal is a problem for this time.
    static let refusalSeconds = 10

    private var lastExpired: UInt64?
    private var lastRefusal: ContinuousClock.Instant?
    private var refused: UInt64 = 0
    private var unroutedSince: ContinuousClock.Instant?
    private(set) var reasons: [String] = []

    /// - Parameters:
    ///   - expired: the total of publishes that were refused, because no owner was found in time.
    ///   - unrouted: the partitions without an owner that this node knows.
    mutating func sample(expired total: UInt64, unrouted: Int, now: ContinuousClock.Instant) {
        let expired = total - min(total, self.lastExpired ?? total)
        if let lastRefusal, lastRefusal.duration(to: now) > .seconds(Self.refusalSeconds) {
            self.lastRefusal = nil
            self.refused = 0
        }
        if expired > 0 {
            self.lastRefusal = now
            self.refused += expired
        }
        self.unroutedSince = unrouted == 0 ? nil : self.unroutedSince ?? now
        self.lastExpired = total
        self.reasons = []
        if self.refused > 0 {
            let publishes = self.refused == 1 ? "1 publish was" : "\(self.refused) publishes were"
            self.reasons.append("\(publishes) refused with 503 in the last seconds, because no owner of the partition was found in time.")
        }
        if let unroutedSince {
            let seconds = Int(unroutedSince.duration(to: now).components.seconds)
            if seconds > Self.unroutedSecondsMax {
                let partitions = unrouted == 1 ? "1 partition" : "\(unrouted) partitions"
                self.reasons.append(
                    "This node has known no owner of \(partitions) for more than \(Self.unroutedSecondsMax) seconds, so publishes to them get 503. See partitions and the links of this node."
                )
            }
        }
    }
}
