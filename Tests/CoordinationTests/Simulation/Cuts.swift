/// The pairs of nodes, from and to, whose connection is cut in that direction. A cut that two faults have made is healed when both are over.
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
