/// The two clocks of a node, both in milliseconds since 1970.
package struct Clocks: Sendable {
    /// The time of day, for times that are shown or stored. A person or a time server may set it forward or back.
    package let wall: @Sendable () -> Int64
    /// The clock for ages. It starts at the time of day when the process starts, and never jumps.
    package let steady: @Sendable () -> Int64

    package init(wall: @escaping @Sendable () -> Int64, steady: @escaping @Sendable () -> Int64) {
        self.wall = wall
        self.steady = steady
    }

    /// Makes the steady clock: the wall clock's time now, plus the time that passes from now on.
    package init(wall: @escaping @Sendable () -> Int64) {
        let start = wall()
        let began = ContinuousClock.now
        self.init(wall: wall) {
            let passed = (ContinuousClock.now - began).components
            return start + passed.seconds * 1000 + passed.attoseconds / 1_000_000_000_000_000
        }
    }

    /// Converts times that were stored by the wall clock.
    package var ages: StoredAges { StoredAges(wall: self.wall(), steady: self.steady()) }
}

/// Converts stored times of day into times on the steady clock. A pure value.
package struct StoredAges: Sendable {
    private let wall: Int64
    private let steady: Int64

    package init(wall: Int64, steady: Int64) {
        self.wall = wall
        self.steady = steady
    }

    /// The steady time of a stored time of day. A stored time in the future counts as now: the wall clock was ahead, by an unknown amount, when the time was
    /// stored.
    package func steady(of stored: Int64) -> Int64 { self.steady - (self.wall - min(max(0, stored), self.wall)) }
}
