/// When one publisher should send: at even distances, whatever the server does. Without this, a server that stalls would also stall its examiner,
/// and the worst latencies would never be asked for.
struct PublishSchedule: Equatable, Sendable {
    enum Pace: Equatable, Sendable {
        /// Open loop: nanoseconds between two events.
        case every(Double)
        /// Closed loop: the next as soon as the last is answered.
        case asFastAsAnswered
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

    /// The intended time of the event that is next, or `nil` if it has none of its own.
    var next: UInt64? {
        switch self.pace {
        case .every(let interval): self.start + UInt64(self.phase + Double(self.sent) * interval)
        case .asFastAsAnswered: nil
        }
    }

    /// The intended time of the event to send now, if there is one to send.
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
