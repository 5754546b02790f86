import NIOCore

/// Executes one ``LinkMachine`` on its connection. Confined to its event loop.
final class LinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private var machine: LinkMachine
    private let direction: LinkDirection
    private let limits: LinkLimits
    private let links: Links
    private var decoder: LinkFrameDecoder
    private var context: ChannelHandlerContext?
    private var ticker: RepeatedTask?
    private var isOpen = false

    init(_ direction: LinkDirection, own: LinkHello, secret: LinkSecret?, limits: LinkLimits, links: Links) {
        self.direction = direction
        self.limits = limits
        self.links = links
        self.machine = LinkMachine(direction, own: own, secret: secret, limits: limits, now: Self.now)
        // Nobody who has not proved who he is makes this node keep megabytes.
        self.decoder = LinkFrameDecoder(payloadBytesMax: LinkHello.bytesMax)
    }

    private static var now: Int { Int(NIODeadline.now().uptimeNanoseconds / 1_000_000) }

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { self.open(context) }
    }

    func channelActive(context: ChannelHandlerContext) { self.open(context) }

    private func open(_ context: ChannelHandlerContext) {
        guard !self.isOpen else { return }
        self.isOpen = true
        let every = TimeAmount.milliseconds(Int64(max(10, min(self.limits.heartbeatMilliseconds, self.limits.silenceMilliseconds) / 4)))
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        self.ticker = context.eventLoop.scheduleRepeatedTask(initialDelay: every, delay: every) { _ in bound.value.tick() }
        self.execute(self.machine.opened())
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        self.decoder.feed(self.unwrapInboundIn(data))
        do throws(LinkFrameDecoder.Malformed) {
            while self.context != nil, let frame = try self.decoder.next() { self.execute(self.machine.received(frame, now: Self.now)) }
        } catch {
            self.execute(self.machine.malformed(error.description))
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // A connection that breaks says so in `channelInactive`; this is TLS, which has no other way to say why.
        if error is IOError { return context.close(promise: nil) }
        self.execute(self.machine.malformed("\(error)"))
    }

    func channelInactive(context: ChannelHandlerContext) {
        if self.isOpen { self.execute(self.machine.disconnected()) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // One that was never connected: whoever dialled knows why, and this does not.
        if self.isOpen { self.execute(self.machine.disconnected()) }
        self.ticker?.cancel()
        self.context = nil
    }

    private func tick() { self.execute(self.machine.ticked(now: Self.now)) }

    /// On the loop: nobody wants the link any more.
    func dismiss(_ reason: String) { self.execute(self.machine.dismissed(reason)) }

    private func execute(_ actions: [LinkMachine.Action]) {
        for action in actions {
            switch action {
            case .send(let kind, let payload):
                self.write(kind, payload)
            case .up(let identity):
                self.decoder.payloadBytesMax = self.limits.frameBytesMax
                guard let channel = self.context?.channel else { return }
                self.links.rose(self, channel, identity, self.direction)
            case .received(let viewVersion, let payload):
                self.links.received(self, viewVersion: viewVersion, payload)
            case .peerView(let version):
                self.links.peerView(self, version)
            case .close(let loss, let farewell):
                if let farewell { self.write(.bye, Array(farewell.utf8.prefix(500))) }
                self.ticker?.cancel()
                self.links.fell(self, loss, self.direction)
                self.context?.close(promise: nil)
            }
        }
    }

    private func write(_ kind: LinkFrame.Kind, _ payload: [UInt8]) {
        guard let context = self.context, context.channel.isActive else { return }
        var buffer = context.channel.allocator.buffer(capacity: payload.count + 16)
        LinkFrame(kind: kind, viewVersion: self.links.viewVersion, payload: payload).write(into: &buffer)
        context.writeAndFlush(self.wrapOutboundOut(buffer), promise: nil)
    }
}
