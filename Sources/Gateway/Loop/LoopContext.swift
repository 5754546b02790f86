import NIOCore
import Pipeline

/// State that one event loop's connections share: table, clock and metrics. Confined to that loop.
final class LoopContext {
    let loop: any EventLoop
    /// The clock of this loop calls `tick` every second.
    let fanout: Fanout
    let limits: Limits

    private(set) var connections = ConnectionTable()
    var wheel = TimerWheel()
    var isDeadlineSliceScheduled = false
    /// The number of seconds since the clock of the loop was started.
    var second = 0
    /// The time at which the clock ticks next.
    var nextSecond = NIODeadline.uptimeNanoseconds(0)
    private(set) var isStopping = false
    var metrics = ConnectionMetrics()
    private var draining: RepeatedTask?
    private var sweep = DrainSweep(steps: 1)
    /// Connections with responses to flush. Each connection is listed once.
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
        if self.unflushed.isEmpty { self.loop.assumeIsolated().execute { self.flushNow() } }
        self.unflushed.append(connection)
    }

    private func flushNow() {
        let connections = self.unflushed
        self.unflushed.removeAll(keepingCapacity: true)
        for connection in connections { connection.flush() }
    }

    // MARK: - Closing

    /// Waits until the socket has accepted all written bytes. Then closes the sending side, and reads for up to two seconds. If the socket were closed with
    /// unread bytes, the kernel would reset the connection and discard the last bytes that were sent.
    func closeGently(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) {
            self.setDeadline(of: connection, in: 2)
            context.close(mode: .output, promise: nil)
        }
    }

    /// Waits until the socket has accepted all written bytes, and closes the connection. For clients that send no more requests.
    func closeWhenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) { context.close(promise: nil) }
    }

    /// If the client reads nothing, the connection's deadline ends the wait.
    private func whenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext, _ body: @escaping () -> Void) {
        self.setDeadline(of: connection, in: self.limits.stalledSecondsMax)
        let promise = self.loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenSuccess { if context.channel.isActive { body() } }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    // MARK: - Draining

    /// Asks the subscribers of a drained node to reconnect, evenly spread over `drain-seconds`. New subscribers are not refused, because the load balancer
    /// would send them to this node again until it has noticed the drain. New subscribers are asked to reconnect in the next round.
    func setDraining(_ isDraining: Bool) {
        let seconds = self.limits.drainSeconds
        guard isDraining != (self.draining != nil), seconds > 0, !(isDraining && self.isStopping) else { return }
        self.draining?.cancel()
        self.draining = nil
        guard isDraining else { return }
        self.sweep = DrainSweep(steps: seconds * Int(TimeAmount.seconds(1).nanoseconds / Slices.drainPause.nanoseconds))
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.draining = self.loop.scheduleRepeatedTask(initialDelay: Slices.drainPause, delay: Slices.drainPause) { _ in bound.value.drainStep() }
    }

    private func drainStep() {
        for connection in self.connections.connections(in: self.sweep.next(of: self.connections.slotCount)) { connection.drain() }
    }

    // MARK: - Stopping

    /// Ends all connections gracefully, in slices. Between slices the loop serves the other connections and sends the last bytes of the slice.
    func stop(completed: EventLoopPromise<Void>) {
        self.isStopping = true
        self.setDraining(false)
        self.stopSlice(from: 0, completed: completed)
    }

    private func stopSlice(from start: Int, completed: EventLoopPromise<Void>) {
        let (connections, next) = self.connections.slice(from: start, limit: self.limits.shutdownSliceConnections)
        for connection in connections { connection.stop() }
        guard let next else { return completed.succeed() }
        self.loop.afterSockets(pause: Slices.closingPause) { self.stopSlice(from: next, completed: completed) }
    }
}
