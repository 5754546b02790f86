import NIOCore
import Pipeline

/// One connection of the subscriber port, from its first byte to its last. The only handler in its pipeline.
///
/// Confined to its event loop. What to do is decided by ``HTTPRequestParser``, ``WebSocketParser`` and the fanout; this class executes it.
final class SubscriberHandler: ChannelInboundHandler, LoopConnection, SubscriberConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    enum Phase {
        /// Waiting for a request, or in the middle of one.
        /// Can transition to: opening, closing.
        case reading
        /// The request was understood; its channels are being opened.
        /// Can transition to: streaming, polling, closing.
        case opening
        /// Events flow until the connection ends.
        /// Can transition to: closing.
        case streaming
        /// A long-poll waits for its answer.
        /// Can transition to: reading (answered, kept alive), closing.
        case polling
        /// The last words are said; what still arrives is thrown away until the other side has closed or the time is up.
        case closing
    }

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let port: SubscriberPort
    var context: ChannelHandlerContext!
    var phase = Phase.reading
    /// Nil while events stream: an idle subscriber should weigh little.
    var parser: HTTPRequestParser?
    var webSocket: WebSocketParser?
    var subscriber: Subscriber?
    var transport = Transport.sse
    var keepsAlive = false
    var crossOriginHeaders = ""
    var upgradeResponse = ""
    /// The request was a HEAD, whose answer has no body.
    var omitsBody = false
    /// The request that is refused is an `EventSource`'s, which ends for good at any status but 200.
    var isEventSource = false
    var missedPongs = 0
    var stall = StallWatch()
    var isReadPaused = false
    /// Over the connection limit: it is told so and closed.
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
        // Whatever ended the connection, it ends here, once.
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
            // SSE and line streams are one way; what their clients still send means nothing.
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
        // The client closed its side. For a stream that is goodbye. In `closing` the channel ends by itself as soon as our side is closed, too.
        if let event = event as? ChannelEvent, event == .inputClosed, self.phase != .closing { context.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// When browsers come back.
enum Reconnect {
    /// A second or two in normal times; after a planned stop spread over several, so that they do not all come at once.
    static func retryMilliseconds(stopping: Bool) -> Int {
        stopping ? Int.random(in: 500...5000) : Int.random(in: 1000...2000)
    }

    /// After a refusal, which may have met thousands in the same moment.
    static func retryMilliseconds(afterSeconds seconds: Int) -> Int { Int.random(in: seconds * 1000...seconds * 3000) }
}
