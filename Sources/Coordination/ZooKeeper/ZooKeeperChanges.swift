import NIOConcurrencyHelpers

/// The paths whose watches fired, coalesced: an element is the set of all that fired since the last one. For one reader.
///
/// Only a hint to read again: it contains neither what changed nor the watch's generation, and it may arrive before the reply of
/// the read that set it. So a path that arrives while it is being read must be read once more.
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
        // One wake-up is enough: the reader takes all paths.
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
