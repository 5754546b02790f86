import DequeModule
import NIOCore

/// The requests of one connection that wait for their replies. Redis replies in order, so a reply needs no name. Pure.
///
/// - Parameter Waiter: who gets the results of a group of requests that were sent together.
struct RedisRequestQueue<Waiter> {
    typealias Outcome = Result<RedisReply, RedisRequestError>

    private struct Group {
        let waiter: Waiter
        let count: Int
        let bytes: Int
        let sentAt: NIODeadline
        var results: [Outcome] = []
    }

    private var groups: Deque<Group> = []
    private let requestsMax: Int
    private let bytesMax: Int
    /// Requests without a reply.
    private(set) var requests = 0
    private(set) var bytes = 0
    /// Requests, of all that were ever added, that may have reached Redis. The others are at the end of the queue.
    private var written: UInt64 = 0
    private var added: UInt64 = 0

    init(requestsMax: Int, bytesMax: Int) {
        self.requestsMax = requestsMax
        self.bytesMax = bytesMax
    }

    /// When the oldest group was added. Nil if nothing waits.
    var oldest: NIODeadline? { self.groups.first?.sentAt }

    /// Why these requests cannot be added now. Nil if they can.
    ///
    /// A group that is larger than a bound is admitted when nothing else waits: otherwise it could never be sent.
    func objection(toAdding count: Int, bytes: Int) -> String? {
        guard self.requests > 0 else { return nil }
        if self.requests + count > self.requestsMax { return "\(self.requests) requests are waiting for Redis, and the maximum is \(self.requestsMax)" }
        if self.bytes + bytes > self.bytesMax {
            return "requests of \(self.bytes) bytes are waiting for Redis, and the maximum is \(self.bytesMax) bytes"
        }
        return nil
    }

    /// - Parameter count: at least one.
    mutating func add(_ waiter: Waiter, count: Int, bytes: Int, at now: NIODeadline) {
        precondition(count > 0, "A group of no requests would wait forever")
        var group = Group(waiter: waiter, count: count, bytes: bytes, sentAt: now)
        group.results.reserveCapacity(count)
        self.groups.append(group)
        self.requests += count
        self.bytes += bytes
        self.added += UInt64(count)
    }

    /// The next requests, in order, have been passed to the kernel.
    mutating func didWrite(_ count: Int) { self.written = min(self.added, self.written + UInt64(count)) }

    /// All requests may have been passed to the kernel.
    mutating func mayHaveWrittenAll() { self.written = self.added }

    enum OnReply {
        /// More replies of the group are to come.
        case incomplete
        case complete(Waiter, [Outcome])
        /// No request waits for this reply.
        case unexpected
    }

    mutating func received(_ outcome: Outcome) -> OnReply {
        guard !self.groups.isEmpty else { return .unexpected }
        self.groups[0].results.append(outcome)
        self.requests -= 1
        // A reply proves that its request was written.
        self.written = max(self.written, self.added - UInt64(self.requests))
        guard self.groups[0].results.count == self.groups[0].count else { return .incomplete }
        let group = self.groups.removeFirst()
        self.bytes -= group.bytes
        return .complete(group.waiter, group.results)
    }

    /// The connection ends: every request gets a result.
    mutating func end(_ sentence: String) -> [(waiter: Waiter, results: [Outcome])] {
        var maybeWritten = Int(self.written - (self.added - UInt64(self.requests)))
        let ended = self.groups.map { group in
            var results = group.results
            while results.count < group.count {
                results.append(.failure(maybeWritten > 0 ? .noReply(sentence) : .notSent(sentence)))
                maybeWritten -= 1
            }
            return (group.waiter, results)
        }
        self = Self(requestsMax: self.requestsMax, bytesMax: self.bytesMax)
        return ended
    }
}
