/// When one publisher should send: at fixed intervals, independently of the server. Otherwise a server that stalls would also stall the load tool,
/// and the worst latencies would not be measured.
struct PublishSchedule: Equatable, Sendable {
    enum Pace: Equatable, Sendable {
        /// Open loop: nanoseconds between two events.
        case every(Double)
        /// The next event as soon as the response to the last one has arrived.
        case closedLoop
    }

    let start: UInt64
    let pace: Pace
    /// A shift in nanoseconds, so that several publishers do not send at the same moment.
    let phase: Double
    private(set) var sent: UInt64 = 0

    init(start: UInt64, pace: Pace, phase: Double = 0) {
        self.start = start
        self.pace = pace
        self.phase = phase
    }

    /// The intended time of the next event. Nil in a closed loop.
    var next: UInt64? {
        switch self.pace {
        case .every(let interval): self.start + UInt64(self.phase + Double(self.sent) * interval)
        case .closedLoop: nil
        }
    }

    /// The intended time of the event to send now. Nil if none is due.
    func due(at now: UInt64) -> UInt64? {
        guard now >= self.start else { return nil }
        guard let next = self.next else { return now }
        return next <= now ? next : nil
    }

    /// How many events should have been sent before `time` and were not.
    func backlog(at time: UInt64) -> UInt64 {
        guard case .every(let interval) = self.pace, time > self.start else { return 0 }
        let elapsed = Double(time - self.start) - self.phase
        guard elapsed > 0 else { return 0 }
        let due = UInt64((elapsed / interval).rounded(.up))
        return due > self.sent ? due - self.sent : 0
    }

    mutating func advance() { self.sent += 1 }
}
