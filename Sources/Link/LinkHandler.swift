import NIOCore
import NIOSSL
import Partitioning
import Synchronization

/// Executes one ``LinkMachine`` on its connection. Confined to its event loop.
final class LinkHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Unique for each connection of this process.
    let serial: UInt64
    /// The peer and the attempt number of an outgoing connection.
    let peer: ProcessID?
    let attempt: Int
    /// The use of an outgoing connection.
    let use: LinkUse
    private var machine: LinkMachine
    private let limits: LinkLimits
    private let links: Links
    private var decoder: LinkFrameDecoder
    private var context: ChannelHandlerContext?
    private var ticker: RepeatedTask?
    private var isOpen = false
    private var isReading = true
    /// True while the inbox is full.
    private var isParked = false
    /// All bytes that were written to the channel.
    private var written = 0
    /// Nil until the peer is authenticated, and for a control connection.
    private var data: LinkDataConnection?

    init(peer: ProcessID?, attempt: Int, machine: LinkMachine, limits: LinkLimits, links: Links) {
        self.serial = Self.serials.wrappingAdd(1, ordering: .relaxed).newValue
        self.peer = peer
        self.attempt = attempt
        self.use = machine.use
        self.machine = machine
        self.limits = limits
        self.links = links
        // This limit prevents an unauthenticated peer from making this node buffer megabytes.
        self.decoder = LinkFrameDecoder(payloadBytesMax: LinkHello.bytesMax)
    }

    private static let serials = Atomic<UInt64>(0)

    /// Microseconds on this machine's monotonic clock.
    static var now: Int { Int(NIODeadline.now().uptimeNanoseconds / 1000) }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { self.open(context) }
    }

    func channelActive(context: ChannelHandlerContext) { self.open(context) }

    private func open(_ context: ChannelHandlerContext) {
        guard !self.isOpen else { return }
        self.isOpen = true
        guard self.links.opened(self, context.channel) else { return context.close(promise: nil) }
        let every = TimeAmount.milliseconds(Int64(max(10, min(self.limits.heartbeatMilliseconds, self.limits.silenceMilliseconds) / 4)))
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.ticker = context.eventLoop.scheduleRepeatedTask(initialDelay: every, delay: every) { _ in bound.value.tick() }
        self.execute(self.machine.opened())
    }

    // MARK: - From the connection

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard self.machine.state != .closed else { return }
        let now = Self.now
        self.machine.didReceiveBytes(now: now)
        self.decoder.feed(self.unwrapInboundIn(data))
        do throws(LinkFrameDecoder.Malformed) {
            while self.machine.state != .closed, let item = try self.decoder.next() {
                switch item {
                case .frame(let frame): self.execute(self.machine.received(frame, now: now))
                case .data(let payload, let viewVersion):
                    self.execute(self.machine.receivedData(viewVersion: viewVersion))
                    if self.machine.state == .up, let data = self.data { self.links.receiver?.received(payload, on: data) }
                }
            }
        } catch {
            self.execute(self.machine.malformed(error.description))
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if self.machine.state == .up, let data = self.data { self.links.receiver?.readCompleted(data) }
        context.fireChannelReadComplete()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        // `channelInactive` follows when a connection breaks.
        case is IOError, is ChannelError, NIOSSLError.uncleanShutdown: context.close(promise: nil)
        default: self.execute(self.machine.malformed(LinkTLS.sentence(error)))
        }
    }

    func channelInactive(context: ChannelHandlerContext) { self.execute(self.machine.disconnected()) }

    func handlerRemoved(context: ChannelHandlerContext) {
        // A connection that never opened is not reported here, because the code that dialled it gets the error.
        if self.isOpen { self.execute(self.machine.disconnected()) }
        self.ticker?.cancel()
        self.context = nil
    }

    private func tick() {
        guard let context = self.context else { return }
        let waiting = (try? context.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
        self.execute(self.machine.ticked(now: Self.now, isReading: self.isReading, taken: self.written - waiting, waiting: waiting))
    }

    // MARK: - To the connection

    /// Called for the messages that ``Links/send(_:to:)`` writes to the channel.
    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard self.machine.state != .closed else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        self.written += self.unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }

    private func send(_ kind: LinkFrame.Kind, _ payload: [UInt8]) {
        guard let context = self.context, context.channel.isActive else { return }
        // A peer that does not read gets no heartbeats. This node would have to buffer them, and the messages that already wait test the link as well.
        if kind == .heartbeat || kind == .heartbeatReply, !context.channel.isWritable { return }
        let frame = LinkFrame(kind: kind, viewVersion: self.links.viewVersion, payload: payload)
        var buffer = context.channel.allocator.buffer(capacity: LinkFrame.lengthBytes + LinkFrame.headBytes + payload.count)
        frame.write(into: &buffer)
        self.written += buffer.readableBytes
        context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
    }

    // MARK: - Called on the loop

    /// Ends a link that is no longer needed.
    func dismiss(_ reason: String) { self.execute(self.machine.dismissed(reason)) }

    /// Resumes reading, because the inbox has space again.
    func resumeReading() {
        self.isParked = false
        self.updateReading()
    }

    /// Stops reading, because the inbox is full.
    private func pause() {
        guard let context = self.context, !self.isParked else { return }
        self.isParked = true
        self.updateReading()
        self.links.inbox.park(NIOLoopBound(self, eventLoop: context.eventLoop))
    }

    /// Reads unless the inbox is full, or the receiver of the data connection has too much to do.
    private func updateReading() {
        let isReading = !self.isParked && self.data?.isHeld != true
        guard let context = self.context, self.isReading != isReading else { return }
        self.isReading = isReading
        try? context.channel.syncOptions?.setOption(.autoRead, value: isReading)
    }

    // MARK: - Actions

    private func execute(_ actions: [LinkMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let kind, let payload):
                self.send(kind, payload)
            case .up(let identity, let use, let protocolVersion):
                self.decoder.payloadBytesMax = self.limits.frameBytesMax
                if let objection = self.links.didOpen(self.serial, identity, use, protocolVersion) { return self.dismiss(objection) }
                if use == .data { self.openData(identity.process) }
            case .received(let viewVersion, let payload):
                if !self.links.received(self.serial, viewVersion: viewVersion, payload) { self.pause() }
            case .peerView(let version):
                if !self.links.peerView(self.serial, version) { self.pause() }
            case .roundTrip(let microseconds):
                self.links.measured(self.serial, roundTrip: microseconds)
            case .close(let loss, let farewell):
                self.close(loss, farewell)
            }
        }
    }

    private func openData(_ peer: ProcessID) {
        guard let context = self.context, let receiver = self.links.receiver else { return }
        let links = self.links
        let data = LinkDataConnection(
            peer: peer, direction: self.machine.direction, session: self.serial, channel: context.channel, limits: self.limits,
            viewVersion: { links.viewVersion },
            updateReading: { [bound = NIOLoopBound(self, eventLoop: context.eventLoop)] in
                bound.eventLoop.execute { bound.value.updateReading() }
            }, drained: { receiver.drained($0) })
        self.data = data
        receiver.opened(data)
    }

    private func close(_ loss: LinkLoss, _ farewell: String?) {
        self.ticker?.cancel()
        self.links.didClose(self.serial, loss)
        if let data = self.data.take() { self.links.receiver?.closed(data, loss) }
        guard let context = self.context else { return }
        guard let farewell, context.channel.isActive else { return context.close(promise: nil) }
        self.send(.bye, Array(farewell.utf8.prefix(300)))
        // The peer closes after it has read the reason. If this side closed first with unread bytes, the kernel would reset the connection and discard the
        // reason.
        self.resumeReading()
        let channel = context.channel
        context.eventLoop.scheduleTask(in: .milliseconds(Int64(self.limits.farewellMilliseconds))) { channel.close(promise: nil) }
    }
}
