import NIOCore
import Pipeline
import SubscriberAPI

/// One connection of the subscriber port. This is the only handler of the channel.
///
/// Confined to its event loop. ``HTTPConnection``, ``WebSocketParser`` and the fanout decide; this class executes their decisions.
final class SubscriberHandler: ChannelInboundHandler, HTTPHandler, SubscriberConnection {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The phase of the connection. It has no meaning after ``http`` has ended.
    enum Phase {
        /// No complete request has arrived.
        /// Can transition to: opening.
        case requests
        /// The request is valid, and its channels are being opened.
        /// Can transition to: streaming (also before the heads of the channels are known), polling, requests.
        case opening
        /// The response has begun. Events are delivered, from the time at which the heads of all channels are known, until the connection ends.
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
    /// The request is a HEAD, whose response has no body.
    var omitsBody = false
    /// The refused request is from an `EventSource`, which does not reconnect after any status except 200.
    var isEventSource = false
    var missedPongs = 0

    init(port: SubscriberPort, isOverLimit: Bool) {
        self.port = port
        // A GET may have a small body, which is ignored.
        self.http = HTTPConnection(headerBytesMax: port.loop.limits.headerBytesMax, bodyBytesMax: FixedLimits.subscriberBodyBytesMax, isOverLimit: isOverLimit)
    }

    var loop: LoopContext { self.port.loop }

    // MARK: - Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        self.loop.metrics.accepted += 1
        self.loop.add(self, deadlineIn: self.firstDeadlineSeconds)
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // NIO calls this function exactly once for every connection.
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
            // The bytes belong to later requests. They are buffered, up to a bound.
            self.http.receive(bytes)
            if self.http.bufferedBytes > self.loop.limits.headerBytesMax { context.close(promise: nil) }
        case .streaming:
            // Bytes from clients of SSE and line streams are ignored.
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
        // A subscriber that closes its side does not want more events.
        case .opening, .streaming, .polling: context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

/// Delays after which browsers reconnect.
enum Reconnect {
    /// Normally one to two seconds. The range is wider when the node stops, so that not all clients reconnect together.
    static func retryMilliseconds(stopping: Bool) -> Int {
        stopping ? Int.random(in: 500...5000) : Int.random(in: 1000...2000)
    }

    /// The delay after a refusal. The range is wide, because thousands of clients may be refused together.
    static func retryMilliseconds(afterSeconds seconds: Int) -> Int { Int.random(in: seconds * 1000...seconds * 3000) }
}
