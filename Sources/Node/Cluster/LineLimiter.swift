import Pipeline

/// Limits the log lines of a library, and counts the lines that it drops. A pure value.
struct LineLimiter {
    private var began: ContinuousClock.Instant?
    private var count = 0
    private var dropped = 0

    /// Returns nil if this line must be dropped. Otherwise returns how many lines were dropped since the last line that passed.
    mutating func pass(at now: ContinuousClock.Instant) -> Int? {
        if self.began.map({ now >= $0.advanced(by: FixedLimits.zooKeeperLogWindow) }) ?? true {
            self.began = now
            self.count = 0
        }
        self.count += 1
        guard self.count <= FixedLimits.zooKeeperLogLinesMax else {
            self.dropped += 1
            return nil
        }
        defer { self.dropped = 0 }
        return self.dropped
    }
}
