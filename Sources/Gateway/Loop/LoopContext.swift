import NIOCore
import Pipeline

/// What one event loop's connections share: its table of connections, its clock, its metrics. Confined to that loop.
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

    /// Responses of one turn of the loop leave in one write a connection.
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

    /// Lets the client have all that was written, at its pace; then closes our side and reads on for a moment, because closing with unread bytes would make
    /// the kernel reset the connection and take our last words with it.
    func closeGently(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) {
            self.setDeadline(of: connection, in: 2)
            context.close(mode: .output, promise: nil)
        }
    }

    /// The same for a connection on which nothing is asked: nobody waits for its other side.
    func closeWhenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext) {
        self.whenWritten(connection, context) { context.close(promise: nil) }
    }

    /// A client that takes nothing meets the connection's deadline first.
    private func whenWritten(_ connection: any LoopConnection, _ context: ChannelHandlerContext, _ body: @escaping () -> Void) {
        self.setDeadline(of: connection, in: self.limits.stalledSecondsMax)
        let promise = self.loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenSuccess { if context.channel.isActive { body() } }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    // MARK: - Draining

    /// Subscribers of a drained node are sent away one after the other, also those who still come: a load balancer takes its time to notice. They are not
    /// refused: until it has noticed, they would only come back to this node.
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

    /// Says goodbye to every connection, a slice at a time, so that the loop goes on serving the others and the goodbyes of one slice can leave.
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
