import NIOCore
import Pipeline

/// One connection of the subscriber port, from its first byte to its last. The only handler in its pipeline.
///
/// Confined to its event loop. What to do is decided by ``HTTPRequestParser``, ``WebSocketParser`` and the fanout; this class executes it.
final class SubscriberHandler: ChannelInboundHandler, LoopConnection, SubscriberConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waits for a request, or is in the middle of one.
        /// Can transition to: opening, closing.
        case reading
        /// The request was understood; its channels are being opened.
        /// Can transition to: streaming, polling, closing.
        case opening
        /// Events flow until the connection ends.
        /// Can transition to: closing.
        case streaming
        /// A long-poll waits for its response.
        /// Can transition to: reading (response sent, kept alive), closing.
        case polling
        /// The last bytes were sent. Arriving bytes are dropped until the client closes or the time is over.
        case closing
    }

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let port: SubscriberPort
    var context: ChannelHandlerContext!
    var phase = Phase.reading
    /// Nil while events stream, so that an idle subscriber uses little memory.
    var parser: HTTPRequestParser?
    var webSocket: WebSocketParser?
    var subscriber: Subscriber?
    var transport = Transport.sse
    var keepsAlive = false
    var crossOriginHeaders = ""
    var upgradeResponse = ""
    /// The request was a HEAD, whose response has no body.
    var omitsBody = false
    /// The refused request came from an `EventSource`, which ends for good at any status except 200.
    var isEventSource = false
    var missedPongs = 0
    var stall = StallWatch()
    var isReadPaused = false
    /// Over the connection limit: it gets a refusal and is closed.
    let isOverLimit: Bool

    init(port: SubscriberPort, isOverLimit: Bool) {
        self.port = port
        self.isOverLimit = isOverLimit
    }

    var loop: LoopContext { self.port.loop }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.parser = self.newParser()
        self.loop.metrics.accepted += 1
        self.loop.add(self, deadlineIn: self.isOverLimit ? 2 : self.loop.limits.handshakeSecondsMax)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // Every connection ends here, once, for any reason.
        self.loop.metrics.closed += 1
        self.loop.remove(self)
        self.endSubscriber()
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = self.unwrapInboundIn(data)
        switch self.phase {
        case .reading, .opening, .polling:
            self.parser?.feed(bytes)
            if self.phase == .reading { self.readRequests() } else { self.checkPipelined() }
        case .streaming:
            // SSE and line streams are one-way: bytes from their clients are ignored.
            if self.webSocket != nil { self.readFrames(bytes) }
        case .closing:
            break
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            self.stall.unblock()
            if self.isReadPaused { self.resumeReading() }
            if let subscriber { self.port.fanout.onLoop { $0.writable(subscriber) } }
        } else {
            self.stall.block(at: self.loop.second, waiting: context.waitingBytes)
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // The client closed its side. That ends a stream. In `closing` the channel ends by itself as soon as this side is closed too.
        if let event = event as? ChannelEvent, event == .inputClosed, self.phase != .closing { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// Reconnect times for browsers.
enum Reconnect {
    /// One or two seconds normally. After a planned stop spread over several seconds, so that not all clients reconnect together.
    static func retryMilliseconds(stopping: Bool) -> Int {
        stopping ? Int.random(in: 500...5000) : Int.random(in: 1000...2000)
    }

    /// After a refusal, which thousands of clients may have got at the same time.
    static func retryMilliseconds(afterSeconds seconds: Int) -> Int { Int.random(in: seconds * 1000...seconds * 3000) }
}
