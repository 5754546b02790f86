import DequeModule
import NIOConcurrencyHelpers
import NIOCore

/// What the connections' event loops leave for the one reader of ``Links/events``. Bounded by bytes.
///
/// Over the bound, connections stop being read and are parked here until half of it is read; what their peers send then waits in the peers' own bounded
/// buffers. Only the few events that this node makes itself come in beyond the bound.
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

    /// Never blocks. False when there is no room for more: the connection stops reading, and is parked. When it is `optional` it is left out then.
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

    /// On the handler's loop, which has stopped reading. It is told to go on when there is room, which may be at once: the reader may have come in between.
    func park(_ handler: NIOLoopBound<LinkHandler>) {
        let goesOn = self.state.withLockedValue { state in
            guard state.bytes * 2 > self.bytesMax, !state.isFinished else { return true }
            state.parked.append(handler)
            return false
        }
        if goesOn { self.wake([handler]) }
    }

    /// The next event; nil at the end. For one reader.
    func next() async -> LinkEvent? {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let (answer, isAnswered, parked): (LinkEvent?, Bool, [NIOLoopBound<LinkHandler>]) = self.state.withLockedValue { state in
                    if let event = state.events.popFirst() {
                        state.bytes -= event.bytes
                        guard state.bytes * 2 <= self.bytesMax else { return (event, true, []) }
                        defer { state.parked = [] }
                        return (event, true, state.parked)
                    }
                    if state.isFinished { return (nil, true, []) }
                    precondition(state.reader == nil, "links have one reader")
                    state.reader = continuation
                    return (nil, false, [])
                }
                if isAnswered { continuation.resume(returning: answer) }
                self.wake(parked)
            }
        } onCancel: {
            self.finish()
        }
    }

    /// No more comes in. What is there can still be read.
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
        for handler in handlers { handler.eventLoop.execute { handler.value.readOn() } }
    }
}
