import NIOCore
import Pipeline

/// Deadlines in whole seconds. Every connection has one deadline. At that second the loop calls ``LoopConnection/deadlineReached()``.
extension LoopContext {
    func setDeadline(of connection: any LoopConnection, in seconds: Int) {
        connection.deadline = self.second + max(1, seconds)
        // Only an earlier deadline needs a new entry in the timer wheel. A later deadline is read when the current entry is due.
        guard connection.wheelSecond <= self.second || connection.deadline < connection.wheelSecond else { return }
        self.enter(connection)
    }

    /// Sets the deadline of the next heartbeat. The heartbeats of a connection are one interval apart. The connection's slot determines the second within the
    /// interval, so that connections accepted together have heartbeats in different seconds.
    func setHeartbeat(of connection: any LoopConnection) {
        let interval = self.limits.heartbeatSeconds
        let sinceLast = (self.second - Int(connection.id.slot) % interval + interval) % interval
        self.setDeadline(of: connection, in: interval - sinceLast)
    }

    /// Sets the deadline at which a long-poll without events ends. One event ends many polls together, so their next polls begin together. Depending on the
    /// slot, a poll ends up to a fifth of the interval early, which spreads these polls. A wider spread would cause more requests.
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

    /// Starts the clock. The clock also runs while the node is stopping, to close connections that their clients do not close.
    func start() {
        self.nextSecond = self.loop.now + .seconds(1)
        self.scheduleSecond()
    }

    private func scheduleSecond() {
        self.loop.assumeIsolated().scheduleTask(deadline: self.nextSecond) { self.everySecond() }
    }

    private func everySecond() {
        // Seconds are due at fixed times, so that a busy loop does not lengthen them. After a pause of the whole process, the missed seconds are skipped.
        // Otherwise deadlines would expire before the bytes that arrived during the pause are read.
        let now = self.loop.now
        self.nextSecond = self.nextSecond + .seconds(1)
        if self.nextSecond <= now { self.nextSecond = now + .seconds(1) }
        self.scheduleSecond()
        self.second += 1
        self.wheel.turn(to: self.second)
        if !self.isDeadlineSliceScheduled { self.handleDueDeadlines() }
        self.fanout.onLoop { $0.tick() }
    }

    /// Handles a slice of the due entries. The connection of a due entry may have closed or may have another deadline. Both are checked here.
    private func handleDueDeadlines() {
        self.isDeadlineSliceScheduled = false
        var budget = Slices.deadlinesMax
        while budget > 0, let entry = self.wheel.popDue() {
            budget -= 1
            guard let connection = self.connections[entry.id], connection.wheelSecond == entry.second else { continue }
            if connection.deadline <= self.second { connection.deadlineReached() }
            if self.connections[entry.id] != nil, connection.wheelSecond <= self.second { self.enter(connection) }
        }
        guard self.wheel.hasDue else { return }
        self.isDeadlineSliceScheduled = true
        self.loop.afterSockets { self.handleDueDeadlines() }
    }
}
