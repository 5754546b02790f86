import NIOCore
import Pipeline

/// One connection of the subscriber port, from its first byte to its last. The only handler in its pipeline.
///
/// Confined to its event loop. What to do is decided by ``HTTPRequestParser``, ``WebSocketParser`` and the fanout; this class executes it.
final class SubscriberHandler: ChannelInboundHandler, HTTPHandler, SubscriberConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What the connection is used for, until ``http`` has ended.
    enum Phase {
        /// Waiting for a request, or in the middle of one.
        /// Can transition to: opening.
        case requests
        /// The request was understood; its channels are being opened.
        /// Can transition to: streaming, polling.
        case opening
        /// Events flow until the connection ends.
        case streaming
        /// A long-poll waits for its response.
        /// Can transition to: requests.
        case polling
    }

    var id = ConnectionID(slot: 0, generation: 0)
    var deadline = 0
    var wheelSecond = 0

    let port: SubscriberPort
    var context: ChannelHandlerContext!
    var phase = Phase.requests
    var http: HTTPConnection
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

    init(port: SubscriberPort, isOverLimit: Bool) {
        self.port = port
        // A GET may have a body that means nothing; a small one is read past.
        self.http = HTTPConnection(headerBytesMax: port.loop.limits.headerBytesMax, bodyBytesMax: 1024, isOverLimit: isOverLimit)
    }

    var loop: LoopContext { self.port.loop }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.metrics.accepted += 1
        self.loop.add(self, deadlineIn: self.firstDeadlineSeconds)
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
        guard !self.http.isEnded else { return }
        switch self.phase {
        case .requests:
            self.http.receive(bytes)
            self.readRequests()
        case .opening, .polling:
            // The client's next requests; they are kept, up to a bound.
            self.http.receive(bytes)
            if self.http.bufferedBytes > self.loop.limits.headerBytesMax { context.close(promise: nil) }
        case .streaming:
            // SSE and line streams are one-way: bytes from their clients are ignored.
            if self.webSocket != nil { self.readFrames(bytes) }
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        self.writabilityChanged(context)
        if context.channel.isWritable, let subscriber { self.port.fanout.onLoop { $0.writable(subscriber) } }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard let event = event as? ChannelEvent, event == .inputClosed, !self.http.isEnded else { return }
        self.http.inputClosed()
        switch self.phase {
        case .requests: if self.http.state != .paused { self.readRequests() }
        // A client that closes its side of a stream leaves.
        case .opening, .streaming, .polling: context.close(promise: nil)
        }
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
