/// The send times of one publisher: fixed intervals that do not depend on the server. Otherwise a server that stalls would also stop the publishers,
/// and the highest latencies would not be measured.
struct PublishSchedule: Equatable, Sendable {
    enum Pace: Equatable, Sendable {
        /// Open loop: nanoseconds between two events.
        case every(Double)
        /// The next event is sent when the response to the previous event has arrived.
        case closedLoop
    }

    let start: UInt64
    let pace: Pace
    /// An offset in nanoseconds, so that several publishers do not send at the same time.
    let phase: Double
    private(set) var sent: UInt64 = 0

    init(start: UInt64, pace: Pace, phase: Double = 0) {
        self.start = start
        self.pace = pace
        self.phase = phase
    }

    /// The scheduled time of the next event. Nil in a closed loop.
    var next: UInt64? {
        switch self.pace {
        case .every(let interval): self.start + UInt64(self.phase + Double(self.sent) * interval)
        case .closedLoop: nil
        }
    }

    /// The scheduled time of the event to send now. Nil if no event is due.
    func due(at now: UInt64) -> UInt64? {
        guard now >= self.start else { return nil }
        guard let next = self.next else { return now }
        return next <= now ? next : nil
    }

    /// The number of events that were due before `time` and were not sent.
    func backlog(at time: UInt64) -> UInt64 {
        guard case .every(let interval) = self.pace, time > self.start else { return 0 }
        let elapsed = Double(time - self.start) - self.phase
        guard elapsed > 0 else { return 0 }
        let due = UInt64((elapsed / interval).rounded(.up))
        return due > self.sent ? due - self.sent : 0
    }

    mutating func advance() { self.sent += 1 }
}
