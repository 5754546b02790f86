import NIOCore

/// Which refusals have been logged, so that one that repeats itself is not. Bounded: strangers choose what they say.
struct LinkRefusals {
    struct Full: Error {}

    static let countMax = 256
    static let memory = TimeAmount.minutes(10)

    private(set) var total: UInt64 = 0
    private var logged: [String: NIODeadline] = [:]

    /// Whether it has not been seen for a while. With too many different ones, none is news until some are forgotten.
    mutating func isNews(_ text: String, now: NIODeadline) -> Bool {
        self.total += 1
        if self.logged.count >= Self.countMax { self.logged = self.logged.filter { $0.value > now } }
        let isNews = (self.logged[text].map { $0 <= now } ?? true) && self.logged.count < Self.countMax
        // Later ones keep it known.
        if isNews || self.logged[text] != nil { self.logged[text] = now + Self.memory }
        return isNews
    }
}
