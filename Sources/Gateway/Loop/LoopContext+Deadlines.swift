import NIOCore
import Pipeline

/// Time, in whole seconds: every connection has a deadline, and the loop tells it when it has come.
extension LoopContext {
    /// Wheel entries looked at before the loop looks at its sockets again. A heartbeat is a write: ten thousand in one go would keep everybody else waiting
    /// for a tenth of a second.
    static let deadlineSliceMax = 256

    func setDeadline(of connection: any LoopConnection, in seconds: Int) {
        connection.deadline = self.second + max(1, seconds)
        // A later deadline is found when the entry in the wheel comes round; only an earlier one needs an entry of its own.
        guard connection.wheelSecond <= self.second || connection.deadline < connection.wheelSecond else { return }
        self.enter(connection)
    }

    /// The next heartbeat: the first one within the interval, each later one an interval after the one before. Whoever came in one second is spread over
    /// the whole interval, by his place in the table, and stays so.
    func setHeartbeat(of connection: any LoopConnection) {
        let interval = self.limits.heartbeatSeconds
        let sinceLast = (self.second - Int(connection.id.slot) % interval + interval) % interval
        self.setDeadline(of: connection, in: interval - sinceLast)
    }

    /// The end of a long-poll that nothing answers. Early by up to a fifth of the interval, because those that one event has answered come back together;
    /// not by more, because each end is a request.
    func setPollEnd(of connection: any LoopConnection) {
        let interval = self.limits.heartbeatSeconds
        self.setDeadline(of: connection, in: interval - Int(connection.id.slot) % (interval / 5 + 1))
    }

    private func enter(_ connection: any LoopConnection) {
        let second = min(max(connection.deadline, self.second + 1), self.second + TimerWheel.slots - 1)
        connection.wheelSecond = second
        self.wheel.add(connection.id, at: second, now: self.second)
    }

    // MARK: - Time passes

    /// Never stopped: while the node stops, it closes those who do not close.
    func start() {
        self.nextSecond = self.loop.now + .seconds(1)
        self.scheduleSecond()
    }

    private func scheduleSecond() {
        let bound = NIOLoopBound(self, eventLoop: self.loop)
        self.loop.scheduleTask(deadline: self.nextSecond) { bound.value.everySecond() }
    }

    private func everySecond() {
        // At even distances, or a busy loop's 25 seconds would be longer than anybody's. But what a pause of the whole process took is not made up for:
        // deadlines would come before the bytes that have arrived meanwhile.
        let now = self.loop.now
        self.nextSecond = self.nextSecond + .seconds(1)
        if self.nextSecond <= now { self.nextSecond = now + .seconds(1) }
        self.scheduleSecond()
        self.second += 1
        self.wheel.turn(to: self.second)
        if !self.isDeadlineSliceScheduled { self.meetDeadlines() }
        self.fanout.onLoop { $0.tick() }
    }

    /// A slice of those whose second has come. A connection that has gone, or has got another deadline, since then is found out here: between two slices
    /// anything may happen.
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
        // Not `execute`: NIO runs everything that is runnable before it polls again. Long enough that what else is runnable is done before it is due.
        self.loop.scheduleTask(in: .milliseconds(1)) { bound.value.meetDeadlines() }
    }
}
