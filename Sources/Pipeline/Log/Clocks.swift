/// The two clocks of a node, both in milliseconds since 1970.
package struct Clocks: Sendable {
    /// The time of day: what is shown, and what is stored. A person or a time server may set it, forward and back.
    package let wall: @Sendable () -> Int64
    /// What ages are measured by. Begins at the time of day, and is never set.
    package let steady: @Sendable () -> Int64

    package init(wall: @escaping @Sendable () -> Int64, steady: @escaping @Sendable () -> Int64) {
        self.wall = wall
        self.steady = steady
    }

    /// The time of day, and the time that has passed since now.
    package init(wall: @escaping @Sendable () -> Int64) {
        let start = wall()
        let began = ContinuousClock.now
        self.init(wall: wall) {
            let passed = (ContinuousClock.now - began).components
            return start + passed.seconds * 1000 + passed.attoseconds / 1_000_000_000_000_000
        }
    }

    /// For what was stored under the wall clock.
    package var ages: StoredAges { StoredAges(wall: self.wall(), steady: self.steady()) }
}

/// When something happened by the steady clock, of which a stored time of day is left. A pure value.
package struct StoredAges: Sendable {
    private let wall: Int64
    private let steady: Int64

    package init(wall: Int64, steady: Int64) {
        self.wall = wall
        self.steady = steady
    }

    /// What was stored in the future happened now: the clock was ahead then, and how much is not known.
    package func steady(of stored: Int64) -> Int64 { self.steady - (self.wall - min(max(0, stored), self.wall)) }
}
