import NIOCore

/// The socket under a handler: it keeps what is written, takes nothing while it is stalled, and closes its two sides one by one.
final class FakeSocket: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// What the client has received.
    private(set) var received = ByteBuffer()
    /// Flushes that carried bytes.
    private(set) var writes = 0
    /// Our side said that nothing follows.
    private(set) var isOutputClosed = false
    private(set) var isInputClosed = false
    private(set) var isClosed = false
    private var isStalled = false
    private var pending: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var context: ChannelHandlerContext!

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func channelInactive(context: ChannelHandlerContext) {
        self.isClosed = true
        for (_, promise) in self.pending { promise?.fail(ChannelError.ioOnClosedChannel) }
        self.pending = []
        context.fireChannelInactive()
    }

    // MARK: - The handler's side

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        self.pending.append((Self.unwrapOutboundIn(data), promise))
    }

    func flush(context: ChannelHandlerContext) {
        guard !self.isStalled else { return }
        let pending = self.pending
        self.pending = []
        if pending.contains(where: { $0.bytes.readableBytes > 0 }) { self.writes += 1 }
        for (bytes, promise) in pending {
            self.received.writeImmutableBuffer(bytes)
            promise?.succeed(())
        }
    }

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode == .output, !self.isInputClosed else { return context.close(promise: promise) }
        self.isOutputClosed = true
        promise?.succeed(())
    }

    // MARK: - The client's side

    /// Says that nothing follows.
    func endInput() {
        self.isInputClosed = true
        if self.isOutputClosed { return self.context.close(promise: nil) }
        self.context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    func stall() {
        self.isStalled = true
        self.setWritable(false)
    }

    func drain() {
        self.isStalled = false
        self.flush(context: self.context)
        self.setWritable(true)
    }

    private func setWritable(_ isWritable: Bool) {
        self.setChannelWritable?(isWritable)
        self.context.fireChannelWritabilityChanged()
    }

    var setChannelWritable: ((Bool) -> Void)?
}
