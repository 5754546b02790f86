import NIOCore
import Pipeline

/// Time in whole seconds: every connection has a deadline, and the loop calls it at the deadline.
extension LoopContext {
    /// Wheel entries handled before the loop polls its sockets again. A heartbeat is a write: ten thousand together would block the loop
    /// for a tenth of a second.
    static let deadlineSliceMax = 256

    func setDeadline(of connection: any LoopConnection, in seconds: Int) {
        connection.deadline = self.second + max(1, seconds)
        // A later deadline is noticed when the existing entry is due. Only an earlier deadline needs a new entry.
        guard connection.wheelSecond <= self.second || connection.deadline < connection.wheelSecond else { return }
        self.enter(connection)
    }

    /// The next heartbeat: the first one within the interval, each later one an interval after the previous one. Connections of the same second are spread
    /// over the whole interval by their slot in the table, and stay spread.
    func setHeartbeat(of connection: any LoopConnection) {
        let interval = self.limits.heartbeatSeconds
        let sinceLast = (self.second - Int(connection.id.slot) % interval + interval) % interval
        self.setDeadline(of: connection, in: interval - sinceLast)
    }

    /// The end of a long-poll without events. Up to a fifth of the interval early, because polls that one event has ended come back together;
    /// not earlier, because each end causes a new request.
    func setPollEnd(of connection: any LoopConnection) {
        let interval = self.limits.heartbeatSeconds
        self.setDeadline(of: connection, in: interval - Int(connection.id.slot) % (interval / 5 + 1))
    }

    private func enter(_ connection: any LoopConnection) {
        let second = min(max(connection.deadline, self.second + 1), self.second + TimerWheel.slots - 1)
        connection.wheelSecond = second
        self.wheel.add(connection.id, at: second, now: self.second)
    }

    // MARK: - The clock

    /// Never stopped: while the node is stopping, it closes connections whose clients do not close.
    func start() {
        self.nextSecond = self.loop.now + .seconds(1)
        self.scheduleSecond()
    }

    private func scheduleSecond() {
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(deadline: self.nextSecond) { bound.value.everySecond() }
    }

    private func everySecond() {
        // At fixed intervals, or 25 seconds on a busy loop would become longer. But a pause of the whole process is not caught up:
        // deadlines would fire before the bytes that have arrived meanwhile are read.
        let now = self.loop.now
        self.nextSecond = self.nextSecond + .seconds(1)
        if self.nextSecond <= now { self.nextSecond = now + .seconds(1) }
        self.scheduleSecond()
        self.second += 1
        self.wheel.turn(to: self.second)
        if !self.isDeadlineSliceScheduled { self.meetDeadlines() }
        self.fanout.onLoop { $0.tick() }
    }

    /// Handles a slice of the due entries. Between two slices connections may close or get other deadlines: this is checked here.
    private func meetDeadlines() {
        self.isDeadlineSliceScheduled = false
        var budget = Self.deadlineSliceMax
        while budget > 0, let entry = self.wheel.popDue() {
            budget -= 1
            guard let connection = self.connections[entry.id], connection.wheelSecond == entry.second else { continue }
            if connection.deadline <= self.second { connection.deadlineReached() }
            if self.connections[entry.id] != nil, connection.wheelSecond <= self.second { self.enter(connection) }
        }
        guard self.wheel.hasDue else { return }
        self.isDeadlineSliceScheduled = true
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        // Not `execute`: NIO runs all runnable tasks before it polls again. The delay is long enough that other runnable tasks finish first.
        self.loop.scheduleTask(in: .milliseconds(1)) { bound.value.meetDeadlines() }
    }
}
