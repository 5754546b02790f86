import NIOCore

/// Remembers which refusals have been logged, so that repeated refusals are not logged. Bounded, because unauthenticated peers choose the text.
struct LinkRefusals {
    struct Full: Error {}

    static let countMax = 256
    static let memory = TimeAmount.minutes(10)

    private(set) var total: UInt64 = 0
    private var logged: [String: NIODeadline] = [:]

    /// Whether this refusal is new, and should be logged. If too many refusals are remembered, no refusal counts as new until some of them expire.
    mutating func isNew(_ text: String, now: NIODeadline) -> Bool {
        self.total += 1
        if self.logged.count >= Self.countMax { self.logged = self.logged.filter { $0.value > now } }
        let isNew = (self.logged[text].map { $0 <= now } ?? true) && self.logged.count < Self.countMax
        // A repeated refusal is remembered for longer.
        if isNew || self.logged[text] != nil { self.logged[text] = now + Self.memory }
        return isNew
    }
}
