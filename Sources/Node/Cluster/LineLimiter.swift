/// Lets so many lines of somebody else's log through in a while, and says how many it did not. A pure value.
struct LineLimiter {
    static let window = Duration.seconds(10)
    static let linesMax = 5

    private var began: ContinuousClock.Instant?
    private var count = 0
    private var left = 0

    /// Nil when this line is left out; else how many were before it.
    mutating func pass(at now: ContinuousClock.Instant) -> Int? {
        if self.began.map({ now >= $0.advanced(by: Self.window) }) ?? true {
            self.began = now
            self.count = 0
        }
        self.count += 1
        guard self.count <= Self.linesMax else {
            self.left += 1
            return nil
        }
        defer { self.left = 0 }
        return self.left
    }
}
