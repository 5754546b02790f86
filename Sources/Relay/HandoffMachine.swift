import DequeModule
import Partitioning
import Pipeline

/// Carries the contents of partitions to their next owners, over the data connections that this node has dialled. Only for a log whose storage nodes do not
/// share (``LogTransfer``). A pure value; ``Handoffs`` performs its effects.
///
/// Over one connection, one partition is carried at a time. A partition is stopped only when its turn comes, because its publishes wait from then until the
/// next owner serves it. The target confirms each chunk, and few chunks are unconfirmed at a time: so events of other partitions wait behind a bounded number
/// of bytes.
struct HandoffMachine {
    /// The progress of one partition.
    enum State: Equatable {
        /// Other partitions are carried over the connection first. This node still serves the partition.
        /// Can transition to: stopping, ended (the connection has closed).
        case queued
        /// This node accepts no more publishes to the partition. The commit in flight has not ended.
        /// Can transition to: sending, ended.
        case stopping
        /// Chunks are sent. `unconfirmed` is the number of chunks that the target has not confirmed.
        /// Can transition to: confirming (the last chunk is sent), ended.
        case sending(unconfirmed: Int)
        /// The link takes no more bytes. The present chunk is sent when it does.
        /// Can transition to: sending, ended.
        case blocked(unconfirmed: Int)
        /// All chunks are sent. The target has not confirmed the last one.
        /// Can transition to: ended.
        case confirming
    }

    /// How a handoff has ended. Nothing is committed any more under the grant.
    enum Result: Equatable {
        /// The target has the complete content, and continues with it under the next owner epoch.
        case carried
        /// The target gets the partition without its content, for this reason: the channels begin new epochs.
        case withoutContent(String)
        /// The target cannot be reached, for this reason. This node takes the partition back, with its content.
        case unreachable(String)
    }

    enum Effect: Equatable {
        /// Stop the partition, then call ``stopped(_:now:)``.
        case stop(Grant)
        /// Send the next chunk, then call ``sent(_:)``, ``refusedByLink(_:)`` or, if there is no further chunk, ``sentAll(_:)``.
        case send(Grant, session: UInt64)
        case end(Grant, Result)
    }

    private struct Handoff {
        let session: UInt64
        var state = State.queued
        /// When the partition was stopped.
        var stoppedAt: Int64 = 0
        /// When it was stopped, or when the target last confirmed a chunk.
        var progressAt: Int64 = 0
    }

    /// Chunks that the target has not confirmed: at most half a megabyte of events.
    static let unconfirmedMax = 8
    /// Without a confirmation for this time, the target counts as unreachable.
    static let stallMillisecondsMax: Int64 = 2000
    /// The longest time for one partition. Publishes wait for 5 seconds (``RelaySettings/parkedMillisecondsMax``), so none of them expires.
    static let carryMillisecondsMax: Int64 = 4000

    private var handoffs: [Grant: Handoff] = [:]
    /// By session, in order. The first one is carried now.
    private var queues: [UInt64: Deque<Grant>] = [:]

    var isEmpty: Bool { self.handoffs.isEmpty }

    func state(of grant: Grant) -> State? { self.handoffs[grant]?.state }

    // MARK: - Events

    /// The session is a data connection to the target.
    mutating func begin(_ grant: Grant, over session: UInt64, now: Int64) -> [Effect] {
        guard self.handoffs[grant] == nil else { return [] }
        self.handoffs[grant] = Handoff(session: session)
        self.queues[session, default: []].append(grant)
        return self.queues[session]!.count == 1 ? self.start(session, now: now) : []
    }

    /// Begins with the first partition of the queue.
    private mutating func start(_ session: UInt64, now: Int64) -> [Effect] {
        guard let grant = self.queues[session]?.first else {
            self.queues[session] = nil
            return []
        }
        self.handoffs[grant]!.state = .stopping
        self.handoffs[grant]!.stoppedAt = now
        self.handoffs[grant]!.progressAt = now
        return [.stop(grant)]
    }

    /// No commit is in flight under the grant.
    mutating func stopped(_ grant: Grant, now: Int64) -> [Effect] {
        guard var handoff = self.handoffs[grant], handoff.state == .stopping else { return [] }
        handoff.state = .sending(unconfirmed: 0)
        handoff.progressAt = now
        self.handoffs[grant] = handoff
        return [.send(grant, session: handoff.session)]
    }

    mutating func sent(_ grant: Grant) -> [Effect] {
        guard let handoff = self.handoffs[grant], case .sending(let unconfirmed) = handoff.state else { return [] }
        self.handoffs[grant]!.state = .sending(unconfirmed: unconfirmed + 1)
        return unconfirmed + 1 < Self.unconfirmedMax ? [.send(grant, session: handoff.session)] : []
    }

    /// Too many bytes wait for the link. The chunk has not been sent.
    mutating func refusedByLink(_ grant: Grant) {
        guard case .sending(let unconfirmed)? = self.handoffs[grant]?.state else { return }
        self.handoffs[grant]!.state = .blocked(unconfirmed: unconfirmed)
    }

    mutating func sentAll(_ grant: Grant) {
        guard case .sending? = self.handoffs[grant]?.state else { return }
        self.handoffs[grant]!.state = .confirming
    }

    /// The log does not export the partition: it is not sealed under this grant any more.
    mutating func hasNoContent(_ grant: Grant, now: Int64) -> [Effect] {
        self.handoffs[grant] == nil ? [] : self.end(grant, .withoutContent("the log is not sealed under \(grant)"), now: now)
    }

    /// The link takes bytes again.
    mutating func drained(_ session: UInt64) -> [Effect] {
        guard let grant = self.queues[session]?.first, case .blocked(let unconfirmed) = self.handoffs[grant]!.state else { return [] }
        self.handoffs[grant]!.state = .sending(unconfirmed: unconfirmed)
        return unconfirmed < Self.unconfirmedMax ? [.send(grant, session: session)] : []
    }

    /// The target's reply to one chunk.
    mutating func staged(_ grant: Grant, over session: UInt64, _ staging: LogStaging, now: Int64) -> [Effect] {
        guard let handoff = self.handoffs[grant], handoff.session == session else { return [] }
        switch (handoff.state, staging) {
        // Replies of an earlier session do not arrive over this one, and nothing has been sent yet.
        case (.queued, _), (.stopping, _): return []
        case (_, .complete): return self.end(grant, .carried, now: now)
        case (_, .refused(let reason)): return self.end(grant, .withoutContent(reason), now: now)
        case (.sending(let unconfirmed), .incomplete):
            self.handoffs[grant]!.progressAt = now
            self.handoffs[grant]!.state = .sending(unconfirmed: max(0, unconfirmed - 1))
            // While fewer chunks are unconfirmed, the next chunk is being sent already.
            return unconfirmed == Self.unconfirmedMax ? [.send(grant, session: session)] : []
        case (.blocked(let unconfirmed), .incomplete):
            self.handoffs[grant]!.progressAt = now
            self.handoffs[grant]!.state = .blocked(unconfirmed: max(0, unconfirmed - 1))
            return []
        case (.confirming, .incomplete):
            self.handoffs[grant]!.progressAt = now
            return []
        }
    }

    mutating func closed(_ session: UInt64) -> [Effect] {
        guard let grants = self.queues.removeValue(forKey: session) else { return [] }
        for grant in grants { self.handoffs[grant] = nil }
        return grants.map { .end($0, .unreachable("the link to the next owner has closed")) }
    }

    /// Ends what has taken too long. Called a few times a second.
    mutating func expire(now: Int64) -> [Effect] {
        var effects: [Effect] = []
        for grant in self.queues.values.compactMap(\.first) {
            let handoff = self.handoffs[grant]!
            if now - handoff.progressAt >= Self.stallMillisecondsMax {
                effects += self.end(grant, .unreachable("the next owner has confirmed nothing for \(Self.stallMillisecondsMax / 1000) s"), now: now)
            } else if now - handoff.stoppedAt >= Self.carryMillisecondsMax {
                // Taking the partition back would not help: its next move would take as long.
                effects += self.end(grant, .withoutContent("its content cannot be sent within \(Self.carryMillisecondsMax / 1000) s"), now: now)
            }
        }
        return effects
    }

    private mutating func end(_ grant: Grant, _ result: Result, now: Int64) -> [Effect] {
        guard let handoff = self.handoffs.removeValue(forKey: grant) else { return [] }
        self.queues[handoff.session]!.removeAll { $0 == grant }
        // Only the first one of a queue ends here.
        return [.end(grant, result)] + self.start(handoff.session, now: now)
    }
}
