import NIOCore

/// The socket under a handler: it keeps what is written, takes nothing or little while it is stalled, and closes its two sides one by one.
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
        if self.isStalled { self.showPending() }
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

    /// Takes nothing from now on, which the channel does not say before it holds enough.
    func hold() { self.isStalled = true }

    func stall() {
        self.isStalled = true
        self.setWritable(false)
    }

    /// Takes so many of the bytes that wait, and stays stalled.
    func take(_ count: Int) {
        var count = count
        while count > 0, let first = self.pending.first {
            var bytes = first.bytes
            let taken = bytes.readSlice(length: min(count, bytes.readableBytes))!
            self.received.writeImmutableBuffer(taken)
            count -= taken.readableBytes
            self.pending[0].bytes = bytes
            guard bytes.readableBytes == 0 else { break }
            self.pending.removeFirst().promise?.succeed(())
        }
        self.showPending()
    }

    func drain() {
        self.isStalled = false
        self.flush(context: self.context)
        self.showPending()
        self.setWritable(true)
    }

    /// What waits here waits in the channel, too, where its option counts it.
    private func showPending() {
        self.context.flush()
        for (bytes, _) in self.pending { self.context.write(NIOAny(bytes), promise: nil) }
    }

    private func setWritable(_ isWritable: Bool) {
        self.setChannelWritable?(isWritable)
        self.context.fireChannelWritabilityChanged()
    }

    var setChannelWritable: ((Bool) -> Void)?
}
