/// The pairs of nodes (from, to) whose connection is cut in this direction. If two faults cut the same pair, the pair is healed when both faults are over.
struct Cuts {
    private var counts: [[String]: Int] = [:]

    var isEmpty: Bool { self.counts.isEmpty }

    func contains(_ from: String, _ to: String) -> Bool { self.counts[[from, to]] != nil }

    mutating func add(_ pairs: [[String]]) { for pair in pairs { self.counts[pair, default: 0] += 1 } }

    mutating func heal(_ pairs: [[String]]) {
        for pair in pairs {
            guard let count = self.counts[pair] else { continue }
            self.counts[pair] = count > 1 ? count - 1 : nil
        }
    }

    mutating func healAll() { self.counts = [:] }
}
