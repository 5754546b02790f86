import Synchronization

/// What the coordinator has to handle, in order. One reader takes all that is there.
///
/// Bounded: messages of peers, and other input of any rate, are offered and wait for space. What the coordinator itself has caused is put in
/// without waiting: replies to its own operations (a session has 512 at most), one tick for each wake, a state for each change of the session, a request for
/// each connection to the API.
final class CoordinatorInbox: Sendable {
    /// Offers wait beyond it.
    static let countMax = 256

    private struct State {
        var events: [ClusterMachine.Event] = []
        /// In order: one for each task that offers.
        var offers: [(event: ClusterMachine.Event, continuation: CheckedContinuation<Void, Never>)] = []
        var reader: CheckedContinuation<Void, Never>?
        var isFinished = false
    }

    private let state = Mutex(State())

    /// Never waits.
    func put(_ event: ClusterMachine.Event) {
        let reader: CheckedContinuation<Void, Never>? = self.state.withLock { state in
            guard !state.isFinished else { return nil }
            state.events.append(event)
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Returns when there was room for it, or when no event is read any more.
    func offer(_ event: ClusterMachine.Event) async {
        await withCheckedContinuation { continuation in
            let (isDone, reader): (Bool, CheckedContinuation<Void, Never>?) = self.state.withLock { state in
                guard !state.isFinished else { return (true, nil) }
                guard state.events.count < Self.countMax else {
                    state.offers.append((event, continuation))
                    return (false, nil)
                }
                state.events.append(event)
                return (true, state.reader.take())
            }
            if isDone { continuation.resume() }
            reader?.resume()
        }
    }

    /// Everything that is there, once something is; nil at the end, and when the task is cancelled. For one reader.
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

    /// Nil when there is nothing yet; empty at the end.
    private func takeNow() -> [ClusterMachine.Event]? {
        let (events, waiting): ([ClusterMachine.Event]?, [CheckedContinuation<Void, Never>]) = self.state.withLock { state in
            guard !state.events.isEmpty else { return (state.isFinished ? [] : nil, []) }
            let events = state.events
            // Those that waited come next.
            state.events = state.offers.map(\.event)
            defer { state.offers = [] }
            return (events, state.offers.map(\.continuation))
        }
        for continuation in waiting { continuation.resume() }
        return events
    }

    /// No more comes in. What is there can still be taken.
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
