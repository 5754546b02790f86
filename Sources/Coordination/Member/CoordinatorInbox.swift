import NIOConcurrencyHelpers

/// Events for the coordinator, in order. One reader takes all waiting events together.
///
/// The inbox is bounded in events and bytes. Input of unknown rate, such as peers' messages, is offered, and an offer waits for space. Input that the
/// coordinator itself causes is put in without waiting, because other limits apply to it. A session has at most 512 operations in flight. Each wake causes one
/// tick, each change of the session causes one event, and each connection to the API has one request.
final class CoordinatorInbox: Sendable {
    /// Offers wait while this many events are in the inbox.
    static let countMax = 256
    /// An offer waits while the bytes in the inbox and its own bytes together exceed this limit. An event above the limit waits until the inbox is empty.
    static let bytesMax = 16 * 1024 * 1024

    private struct State {
        var events: [ClusterMachine.Event] = []
        var bytes = 0
        /// Offers that wait for space, in order. Each offer has one waiting task.
        var offers: [(event: ClusterMachine.Event, continuation: CheckedContinuation<Void, Never>)] = []
        var reader: CheckedContinuation<Void, Never>?
        var isFinished = false

        func hasSpace(for event: ClusterMachine.Event) -> Bool {
            self.events.count < CoordinatorInbox.countMax && (self.events.isEmpty || self.bytes + event.bytes <= CoordinatorInbox.bytesMax)
        }

        mutating func append(_ event: ClusterMachine.Event) {
            self.events.append(event)
            self.bytes += event.bytes
        }

        /// Accepts offers in order while there is space. Returns the continuations of the accepted offers.
        mutating func acceptOffers() -> [CheckedContinuation<Void, Never>] {
            var accepted = 0
            while accepted < self.offers.count, self.hasSpace(for: self.offers[accepted].event) {
                self.append(self.offers[accepted].event)
                accepted += 1
            }
            defer { self.offers.removeFirst(accepted) }
            return self.offers.prefix(accepted).map(\.continuation)
        }
    }

    private let state = NIOLockedValueBox(State())

    /// Never waits.
    func put(_ event: ClusterMachine.Event) {
        let reader: CheckedContinuation<Void, Never>? = self.state.withLockedValue { state in
            guard !state.isFinished else { return nil }
            state.append(event)
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Returns when the inbox has accepted the event, or has ended and dropped it.
    func offer(_ event: ClusterMachine.Event) async {
        await withCheckedContinuation { continuation in
            let (isDone, reader): (Bool, CheckedContinuation<Void, Never>?) = self.state.withLockedValue { state in
                guard !state.isFinished else { return (true, nil) }
                guard state.offers.isEmpty, state.hasSpace(for: event) else {
                    state.offers.append((event, continuation))
                    return (false, nil)
                }
                state.append(event)
                return (true, state.reader.take())
            }
            if isDone { continuation.resume() }
            reader?.resume()
        }
    }

    /// Returns all waiting events, as soon as there is one. Returns nil when the inbox has ended or the task is cancelled.
    /// Only one task may call this function.
    func take() async -> [ClusterMachine.Event]? {
        await withTaskCancellationHandler {
            if let events = self.takeNow() { return events.isEmpty ? nil : events }
            await withCheckedContinuation { continuation in
                let isReady = self.state.withLockedValue { state in
                    if state.isFinished || !state.events.isEmpty { return true }
                    precondition(state.reader == nil, "the inbox has one reader")
                    state.reader = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
            let events = self.takeNow() ?? []
            return events.isEmpty ? nil : events
        } onCancel: {
            self.finish()
        }
    }

    /// Returns nil if the inbox is empty, and an empty array if it is empty and has ended.
    private func takeNow() -> [ClusterMachine.Event]? {
        let (events, accepted): ([ClusterMachine.Event]?, [CheckedContinuation<Void, Never>]) = self.state.withLockedValue { state in
            guard !state.events.isEmpty else { return (state.isFinished ? [] : nil, []) }
            let events = state.events
            state.events = []
            state.bytes = 0
            return (events, state.acceptOffers())
        }
        for continuation in accepted { continuation.resume() }
        return events
    }

    /// Ends the inbox: it accepts no more events, and drops waiting offers. Events in the inbox can still be taken.
    func finish() {
        let (reader, offers) = self.state.withLockedValue { state in
            state.isFinished = true
            defer { state.offers = [] }
            return (state.reader.take(), state.offers)
        }
        reader?.resume()
        for offer in offers { offer.continuation.resume() }
    }
}

extension ClusterMachine.Event {
    /// The accounted size of the event while it waits.
    fileprivate var bytes: Int {
        switch self {
        case .received(_, let payload): 128 + payload.count
        case .changed(let paths): paths.reduce(128) { $0 + 32 + $1.utf8.count }
        // The size of a reply of ZooKeeper is not counted, because the session limits the operations in flight.
        case .session, .replied, .ticked, .linkUp, .linkDown, .peerView, .sealed, .sealRefused, .fenced, .handedOver, .handoffFailed, .metrics, .remembered,
            .fault, .request, .depart, .leave:
            128
        }
    }
}
