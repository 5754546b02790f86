import NIOCore

/// The socket under a handler. It stores written bytes, accepts few or no bytes while it is stalled, and closes each side separately.
final class FakeSocket: ChannelDuplexHandler, @unchecked Sendable {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// The bytes that the client has received.
    private(set) var received = ByteBuffer()
    /// The number of flushes with bytes.
    private(set) var writes = 0
    /// The node has closed its side.
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

    /// Closes the client's side.
    func endInput() {
        self.isInputClosed = true
        if self.isOutputClosed { return self.context.close(promise: nil) }
        self.context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
    }

    /// Accepts no more bytes. The channel stays writable, as a channel below its high watermark does.
    func hold() { self.isStalled = true }

    func stall() {
        self.isStalled = true
        self.setWritable(false)
    }

    /// Accepts `count` of the waiting bytes, and stays stalled.
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

    /// Writes the waiting bytes into the channel too, so that its option `bufferedWritableBytes` counts them.
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
