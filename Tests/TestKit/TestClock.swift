import Synchronization

/// A steady clock and a wall clock that advance only when a test advances them. ``advance(seconds:)`` changes both clocks,
/// ``setWall(ahead:)`` changes only the wall clock.
public final class TestClock: Sendable {
    private let milliseconds: Atomic<Int64>
    private let wallOffset = Atomic<Int64>(0)

    public init(_ now: Int64 = 1_700_000_000_000) { self.milliseconds = Atomic(now) }

    /// The steady clock, and the wall clock until it is set.
    public var now: Int64 { self.milliseconds.load(ordering: .relaxed) }

    public var wall: Int64 { self.now + self.wallOffset.load(ordering: .relaxed) }

    public func setWall(ahead seconds: Int64) { self.wallOffset.store(seconds * 1000, ordering: .relaxed) }

    public func advance(seconds: Int64) { self.milliseconds.add(seconds * 1000, ordering: .relaxed) }
}
