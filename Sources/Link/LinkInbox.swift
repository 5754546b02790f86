import DequeModule
import NIOConcurrencyHelpers
import NIOCore

/// Passes events from the connections' event loops to the only reader of ``Links/events``. Bounded in bytes.
///
/// When the bound is reached, connections stop reading and are parked here until at most half of the bound is in use. Until then their peers' messages wait in
/// the peers' own bounded buffers. Only the few events that this node itself creates are accepted beyond the bound.
final class LinkInbox: Sendable {
    private struct State {
        var events: Deque<LinkEvent> = []
        var bytes = 0
        var reader: CheckedContinuation<LinkEvent?, Never>?
        var parked: [NIOLoopBound<LinkHandler>] = []
        var isFinished = false
    }

    private let state = NIOLockedValueBox(State())
    private let bytesMax: Int

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    /// Bytes that wait for the reader.
    var waitingBytes: Int { self.state.withLockedValue { $0.bytes } }

    /// Never blocks. Returns false if the inbox is full. Then the connection must stop reading and call ``park(_:)``. A full inbox drops an optional event.
    @discardableResult
    func put(_ event: LinkEvent, isOptional: Bool = false) -> Bool {
        let (reader, hasRoom): (CheckedContinuation<LinkEvent?, Never>?, Bool) = self.state.withLockedValue { state in
            guard !state.isFinished else { return (nil, true) }
            if let reader = state.reader.take() { return (reader, true) }
            if isOptional, state.bytes >= self.bytesMax { return (nil, false) }
            state.events.append(event)
            state.bytes += event.bytes
            return (nil, state.bytes < self.bytesMax)
        }
        reader?.resume(returning: event)
        return hasRoom
    }

    /// Called on the handler's loop after the handler has stopped reading. The handler resumes when there is space. If the reader has made space in the
    /// meantime, the handler resumes immediately.
    func park(_ handler: NIOLoopBound<LinkHandler>) {
        let canContinue = self.state.withLockedValue { state in
            guard state.bytes * 2 > self.bytesMax, !state.isFinished else { return true }
            state.parked.append(handler)
            return false
        }
        if canContinue { self.wake([handler]) }
    }

    /// The next event, or nil at the end. Only one reader may call this function.
    func next() async -> LinkEvent? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (event, isReady, parked): (LinkEvent?, Bool, [NIOLoopBound<LinkHandler>]) = self.state.withLockedValue { state in
                    if let next = state.events.popFirst() {
                        state.bytes -= next.bytes
                        guard state.bytes * 2 <= self.bytesMax else { return (next, true, []) }
                        defer { state.parked = [] }
                        return (next, true, state.parked)
                    }
                    if state.isFinished { return (nil, true, []) }
                    precondition(state.reader == nil, "links have one reader")
                    state.reader = continuation
                    return (nil, false, [])
                }
                if isReady { continuation.resume(returning: event) }
                self.wake(parked)
            }
        } onCancel: {
            self.finish()
        }
    }

    /// After this call the inbox accepts no more events. The reader can still read the events that wait.
    func finish() {
        let (reader, parked) = self.state.withLockedValue { state in
            state.isFinished = true
            defer { state.parked = [] }
            return (state.reader.take(), state.parked)
        }
        reader?.resume(returning: nil)
        self.wake(parked)
    }

    private func wake(_ handlers: [NIOLoopBound<LinkHandler>]) {
        for handler in handlers { handler.eventLoop.execute { handler.value.resumeReading() } }
    }
}
