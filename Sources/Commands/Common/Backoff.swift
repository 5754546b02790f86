/// The wait before the next attempt. The wait doubles up to a maximum. It is random, so that clients do not reconnect together.
struct Backoff: Sendable {
    var base: Duration
    var max: Duration
    private(set) var attempts = 0

    init(base: Duration = .milliseconds(200), max: Duration = .seconds(10)) {
        self.base = base
        self.max = max
    }

    /// Returns a random time between half and all of the doubled wait. The time is at least the server's hint.
    mutating func next(atLeast hint: Duration? = nil, using generator: inout some RandomNumberGenerator) -> Duration {
        let doubled = self.base * (1 << min(self.attempts, 16))
        self.attempts += 1
        let wait = min(doubled, self.max) * Double.random(in: 0.5...1, using: &generator)
        guard let hint else { return wait }
        return Swift.max(wait, hint * Double.random(in: 1...1.25, using: &generator))
    }

    mutating func next(atLeast hint: Duration? = nil) -> Duration {
        var generator = SystemRandomNumberGenerator()
        return self.next(atLeast: hint, using: &generator)
    }

    mutating func succeeded() {
        self.attempts = 0
    }
}
