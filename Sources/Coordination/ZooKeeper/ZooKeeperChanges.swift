import NIOConcurrencyHelpers

/// The paths whose watches have fired. Each element is the set of all paths since the previous element. Only one reader may use the sequence.
///
/// An element is only a hint to read again. It contains neither the change nor the generation of the watch. It may arrive before the reply to the read that set
/// the watch. So if a path arrives while it is being read, it must be read once more.
package struct ZooKeeperChanges: AsyncSequence, Sendable {
    package typealias Element = Set<String>
    package typealias Failure = Never

    private let dirty = Dirty()
    private let waker: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    fileprivate final class Dirty: Sendable {
        let paths = NIOLockedValueBox<Set<String>>([])
    }

    init() {
        // One wake-up is enough, because the reader takes all paths together.
        (self.waker, self.wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Callable from any thread.
    func mark(_ paths: some Sequence<String>) {
        self.dirty.paths.withLockedValue { $0.formUnion(paths) }
        self.wake.yield()
    }

    func finish() {
        self.wake.finish()
    }

    package func makeAsyncIterator() -> Iterator {
        Iterator(dirty: self.dirty, waker: self.waker.makeAsyncIterator())
    }

    package struct Iterator: AsyncIteratorProtocol {
        fileprivate let dirty: Dirty
        fileprivate var waker: AsyncStream<Void>.Iterator

        package mutating func next() async -> Set<String>? {
            await self.next(isolation: #isolation)
        }

        package mutating func next(isolation actor: isolated (any Actor)?) async -> Set<String>? {
            while await self.waker.next(isolation: actor) != nil {
                let paths = self.dirty.paths.withLockedValue { paths in
                    defer { paths = [] }
                    return paths
                }
                if !paths.isEmpty { return paths }
            }
            return nil
        }
    }
}
