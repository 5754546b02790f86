import NIOCore
import Pipeline

/// State that one event loop's connections share: table, clock and metrics. Confined to that loop.
final class LoopContext {
    let loop: any EventLoop
    /// Its clock is the loop's.
    let fanout: Fanout
    let limits: Limits

    private(set) var connections = ConnectionTable()
    var wheel = TimerWheel()
    var isDeadlineSliceScheduled = false
    /// Seconds since the loop's start, and when the next one is due.
    var second = 0
    var nextSecond = NIODeadline.uptimeNanoseconds(0)
    private(set) var isStopping = false
    var metrics = ConnectionMetrics()
    private var draining: RepeatedTask?
    private var sweep = DrainSweep(steps: 1)
    /// Connections with responses that are written and not flushed, each once.
    private var unflushed: [any FlushingConnection] = []

    init(loop: any EventLoop, fanout: Fanout, limits: Limits) {
        self.loop = loop
        self.fanout = fanout
        self.limits = limits
    }

    // MARK: - Connections

    func add(_ connection: any LoopConnection, deadlineIn seconds: Int) {
        self.connections.add(connection)
        self.setDeadline(of: connection, in: seconds)
    }

    func remove(_ connection: any LoopConnection) {
        self.connections.remove(connection.id)
    }

    // MARK: - Flushing

    /// Sends the responses of one turn of the loop, in one write for each connection.
    func flushSoon(_ connection: any FlushingConnection) {
        if self.unflushed.isEmpty {
            let bound = NIOLoopBound(self, eventLoop: self.loop)
            self.loop.execute { bound.value.flushNow() }
        }
        self.unflushed.append(connection)
    }

    private func flushNow() {
        let connections = self.unflushed
        self.unflushed.removeAll(keepingCapacity: true)
        for connection in connections { connection.flush() }
    }

    // MARK: - Closing

    /// Waits until the client has accepted all written bytes. Then closes this side and reads for a moment, because closing with unread bytes would make
    /// the kernel reset the connection and discard the last bytes.
    func closeGently(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) {
            self.setDeadline(of: connection, in: 2)
            context.close(mode: .output, promise: nil)
        }
    }

    /// The same for a connection without requests: does not wait for the client to close.
    func closeWhenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) { context.close(promise: nil) }
    }

    /// A client that reads nothing reaches the connection's deadline first.
    private func whenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext, _ body: @escaping () -> Void) {
        self.setDeadline(of: connection, in: self.limits.stalledSecondsMax)
        let promise = self.loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenSuccess { if context.channel.isActive { body() } }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    // MARK: - Draining

    /// Asks the subscribers of a drained node to reconnect, one after the other, also those that still arrive before a load balancer has noticed. They are not
    /// refused, because until then they would only come back to this node.
    func setDraining(_ isDraining: Bool) {
        let seconds = self.limits.drainSeconds
        guard isDraining != (self.draining != nil), seconds > 0, !(isDraining && self.isStopping) else { return }
        self.draining?.cancel()
        self.draining = nil
        guard isDraining else { return }
        self.sweep = DrainSweep(steps: seconds * 10)
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.draining = self.loop.scheduleRepeatedTask(initialDelay: .milliseconds(100), delay: .milliseconds(100)) { _ in bound.value.drainStep() }
    }

    private func drainStep() {
        for connection in self.connections.connections(in: self.sweep.next(of: self.connections.slotCount)) { connection.drain() }
    }

    // MARK: - Stopping

    /// Ends all connections gracefully, a slice at a time, so that the loop continues to serve the others and the last bytes of a slice can be sent.
    func stop(completed: EventLoopPromise<Void>) {
        self.isStopping = true
        self.setDraining(false)
        self.stopSlice(from: 0, completed: completed)
    }

    private func stopSlice(from start: Int, completed: EventLoopPromise<Void>) {
        let (connections, next) = self.connections.slice(from: start, limit: self.limits.shutdownSliceConnections)
        for connection in connections { connection.stop() }
        guard let next else { return completed.succeed() }
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(in: .milliseconds(10)) { bound.value.stopSlice(from: next, completed: completed) }
    }
}
