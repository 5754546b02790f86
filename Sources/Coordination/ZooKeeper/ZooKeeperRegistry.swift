import NIOConcurrencyHelpers

/// Maps the integers that the C client gets as contexts to operations that wait for a completion, and to sessions that receive events.
///
/// The contexts are integers, because the client may call back late, never, or more than once with the same context (every path watch gets session events too).
/// A pointer could point to freed memory. An unknown integer is ignored.
///
/// Every method may be called from any thread. No method blocks or calls C.
final class ZooKeeperRegistry: Sendable {
    /// The process has only one registry, because a C callback could not find another one.
    static let shared = ZooKeeperRegistry()

    typealias Token = UInt
    typealias Result = Swift.Result<ZooKeeperReply, ZooKeeperFailure>

    /// The limit of operations in flight for one handle. The C client wakes its own thread through a pipe of 64 KiB, with one byte for each operation. It drops
    /// the connection when the pipe is full. This limit is far below the size of the pipe.
    static let inFlightMax = 512

    /// One operation of the C client. After its deadline it is still counted, and still owns the memory that the client will write to.
    struct Pending: Sendable {
        /// The handle's token.
        let handle: Token
        var deadline: ContinuousClock.Instant
        /// Delivers the result. Nil once the operation has its result.
        var resume: (@Sendable (Result) -> Void)?
        /// The memory for the results of a multi, until its completion or, if that never arrives, the end of the handle.
        let results: ZooKeeperMultiResults?
    }

    private struct Handle {
        let sink: @Sendable (ZooKeeperSession.Event) -> Void
        var operations: Set<Token> = []
    }

    private struct State {
        var last: Token = 0
        var handles: [Token: Handle] = [:]
        var operations: [Token: Pending] = [:]

        mutating func next() -> Token {
            self.last += 1
            return self.last
        }
    }

    private let state = NIOLockedValueBox(State())

    /// Creates a number for a new handle. The number is the context of the handle's watches. `sink` is called on the C client's completion thread.
    func addHandle(sink: @escaping @Sendable (ZooKeeperSession.Event) -> Void) -> Token {
        self.state.withLockedValue { state in
            let token = state.next()
            state.handles[token] = Handle(sink: sink)
            return token
        }
    }

    /// Creates a number for an operation.
    func newOperation() -> Token {
        self.state.withLockedValue { $0.next() }
    }

    /// Returns false if the handle has too many operations or is closed. Then nothing is stored.
    func add(_ token: Token, _ pending: Pending) -> Bool {
        self.state.withLockedValue { state in
            guard let count = state.handles[pending.handle]?.operations.count, count < Self.inFlightMax else { return false }
            state.handles[pending.handle]!.operations.insert(token)
            state.operations[token] = pending
            return true
        }
    }

    /// Removes an operation, because its completion has arrived, or will never arrive after a refused call. Called exactly once for each operation.
    func take(_ token: Token) -> Pending? {
        self.state.withLockedValue { state in
            guard let pending = state.operations.removeValue(forKey: token) else { return nil }
            state.handles[pending.handle]?.operations.remove(token)
            return pending
        }
    }

    /// Completes an operation without waiting for its completion, and keeps the memory that the C client may still write to.
    func answer(_ token: Token, with result: Result) {
        let resume = self.state.withLockedValue { state in
            let resume = state.operations[token]?.resume
            state.operations[token]?.resume = nil
            return resume
        }
        resume?(result)
    }

    /// Completes overdue operations as ambiguous. Returns the next deadline.
    func expire(handle: Token, at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        var overdue: [@Sendable (Result) -> Void] = []
        let next: ContinuousClock.Instant? = self.state.withLockedValue { state in
            var next: ContinuousClock.Instant?
            for token in state.handles[handle]?.operations ?? [] {
                guard let pending = state.operations[token], let resume = pending.resume else { continue }
                if pending.deadline <= now {
                    overdue.append(resume)
                    state.operations[token]?.resume = nil
                } else {
                    next = min(next ?? pending.deadline, pending.deadline)
                }
            }
            return next
        }
        for resume in overdue { resume(.failure(.overdue)) }
        return next
    }

    /// Removes a handle that the C client has freed, and returns its operations without a completion.
    /// The client loses operations that end while it closes a handle (ZOOKEEPER-3868).
    func drain(handle: Token) -> [Pending] {
        self.state.withLockedValue { state in
            guard let removed = state.handles.removeValue(forKey: handle) else { return [] }
            return removed.operations.compactMap { state.operations.removeValue(forKey: $0) }
        }
    }

    func deliver(_ event: ZooKeeperSession.Event, to handle: Token) {
        let sink = self.state.withLockedValue { $0.handles[handle]?.sink }
        sink?(event)
    }

    /// The number of operations that the C client may still complete, for all handles together.
    var inFlight: Int {
        self.state.withLockedValue { $0.operations.count }
    }
}
