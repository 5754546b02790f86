import Synchronization

/// What a coordinator has to handle, in order, from whoever tells it.
///
/// Unbounded: it is answers to what was asked, a handful of watches, and what peers send, whose reader looks at ``count`` and waits.
final class ClusterInputs: Sendable {
    let stream: AsyncStream<ClusterMachine.Event>
    private let continuation: AsyncStream<ClusterMachine.Event>.Continuation
    private let untaken = Atomic<Int>(0)

    init() {
        (self.stream, self.continuation) = AsyncStream.makeStream(bufferingPolicy: .unbounded)
    }

    var count: Int { self.untaken.load(ordering: .relaxed) }

    func put(_ event: ClusterMachine.Event) {
        self.untaken.wrappingAdd(1, ordering: .relaxed)
        self.continuation.yield(event)
    }

    func taken() { self.untaken.wrappingSubtract(1, ordering: .relaxed) }

    func finish() { self.continuation.finish() }
}
