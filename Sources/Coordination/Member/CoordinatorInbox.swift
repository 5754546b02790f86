import Synchronization

/// Events for the coordinator, in order. One reader takes all waiting events together.
///
/// Bounded in events and bytes: peers' messages, and other input of unknown rate, are offered, and an offer waits for space. Input that the coordinator itself
/// causes is put in without waiting, because it is limited elsewhere: replies to its own operations (a session has at most 512), one tick for each wake, one
/// event for each change of the session, one request for each connection to the API.
final class CoordinatorInbox: Sendable {
    /// Offers wait while this many events are in the inbox.
    static let countMax = 256
    /// Offers wait while these bytes and their own would exceed it. A larger event waits until the inbox is empty.
    static let bytesMax = 16 * 1024 * 1024

    private struct State {
        var events: [ClusterMachine.Event] = []
        var bytes = 0
        /// In order: one for each task that offers.
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

        /// Accepts offers in order while there is space. Returns their tasks.
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

    private let state = Mutex(State())

    /// Never waits.
    func put(_ event: ClusterMachine.Event) {
        let reader: CheckedContinuation<Void, Never>? = self.state.withLock { state in
            guard !state.isFinished else { return nil }
            state.append(event)
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Returns when the inbox has accepted the event, or has ended and dropped it.
    func offer(_ event: ClusterMachine.Event) async {
        await withCheckedContinuation { continuation in
            let (isDone, reader): (Bool, CheckedContinuation<Void, Never>?) = self.state.withLock { state in
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

    /// All waiting events, as soon as there is one. Nil at the end, and when the task is cancelled. Only one reader may call it.
    func take() async -> [ClusterMachine.Event]? {
        await withTaskCancellationHandler {
            if let events = self.takeNow() { return events.isEmpty ? nil : events }
            await withCheckedContinuation { continuation in
                let isReady = self.state.withLock { state in
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

    /// Nil when the inbox is empty; an empty array at its end.
    private func takeNow() -> [ClusterMachine.Event]? {
        let (events, accepted): ([ClusterMachine.Event]?, [CheckedContinuation<Void, Never>]) = self.state.withLock { state in
            guard !state.events.isEmpty else { return (state.isFinished ? [] : nil, []) }
            let events = state.events
            state.events = []
            state.bytes = 0
            return (events, state.acceptOffers())
        }
        for continuation in accepted { continuation.resume() }
        return events
    }

    /// Accepts no more events. The waiting ones can still be taken.
    func finish() {
        let (reader, offers) = self.state.withLock { state in
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
        // Replies of ZooKeeper never wait here: the machine limits how many are outstanding.
        case .session, .replied, .ticked, .linkUp, .linkDown, .peerView, .sealed, .sealRefused, .handedOver, .metrics, .remembered, .fault, .request, .leave:
            128
        }
    }
}
