/// Counts lost, repeated and reordered events exactly, by their sequence numbers.
///
/// A slot is one combination of subscriber, channel and publisher. Its state is the next expected number. Missing ranges of numbers (holes) are in a
/// separate table, because a correct server causes none.
struct SequenceTracker: ~Copyable {
    enum Arrival: Equatable {
        /// The event arrived for the first time, in order or after a hole.
        case first
        /// The event arrived for the first time, after a later event.
        case late
        case repeated
    }

    /// Limits the memory of a run that loses many events. The events of further holes count as lost immediately.
    let holesMax: Int
    let slots: Int
    private(set) var repeated: UInt64 = 0
    private(set) var reordered: UInt64 = 0
    private let next: UnsafeMutablePointer<UInt64>
    private var holes: [Int: [Range<UInt64>]] = [:]
    private var holesCount = 0
    private var untracked: [Int: UInt64] = [:]

    init(slots: Int, holesMax: Int = 1 << 20) {
        self.slots = slots
        self.holesMax = holesMax
        self.next = .allocate(capacity: max(1, slots))
        self.next.initialize(repeating: 1, count: max(1, slots))
    }

    deinit { self.next.deallocate() }

    @inline(__always)
    mutating func note(_ sequence: UInt64, slot: Int) -> Arrival {
        if self.next[slot] == sequence {
            self.next[slot] = sequence &+ 1
            return .first
        }
        return self.noteOutOfOrder(sequence, slot: slot)
    }

    /// The number of events of `1...last` that the slot did not receive.
    ///
    /// - Parameter uncertain: events that may not have been published. They do not count as lost.
    func lost(slot: Int, last: UInt64, unless uncertain: [UInt64]) -> UInt64 {
        let expected = self.next[slot]
        var lost = self.untracked[slot] ?? 0
        for hole in self.holes[slot] ?? [] where hole.lowerBound <= last {
            lost += min(hole.upperBound, last + 1) - hole.lowerBound
        }
        if expected <= last { lost += last + 1 - expected }
        for sequence in uncertain where sequence <= last && self.isMissing(sequence, slot: slot) { lost -= min(lost, 1) }
        return lost
    }

    // MARK: Out of order

    @inline(never)
    private mutating func noteOutOfOrder(_ sequence: UInt64, slot: Int) -> Arrival {
        let expected = self.next[slot]
        if sequence > expected {
            self.open(expected..<sequence, slot: slot)
            self.next[slot] = sequence + 1
            return .first
        }
        if self.fill(sequence, slot: slot) {
            self.reordered += 1
            return .late
        }
        self.repeated += 1
        return .repeated
    }

    private func isMissing(_ sequence: UInt64, slot: Int) -> Bool {
        sequence >= self.next[slot] || (self.holes[slot] ?? []).contains { $0.contains(sequence) }
    }

    private mutating func open(_ hole: Range<UInt64>, slot: Int) {
        guard self.holesCount < self.holesMax else {
            self.untracked[slot, default: 0] += UInt64(hole.count)
            return
        }
        self.holes[slot, default: []].append(hole)
        self.holesCount += 1
    }

    /// Removes a number from its hole. Returns false if no hole contains the number, because the event has arrived before.
    private mutating func fill(_ sequence: UInt64, slot: Int) -> Bool {
        guard var list = self.holes[slot], let index = list.firstIndex(where: { $0.contains(sequence) }) else { return false }
        let hole = list.remove(at: index)
        self.holesCount -= 1
        let parts = [hole.lowerBound..<sequence, (sequence + 1)..<hole.upperBound].filter { !$0.isEmpty }
        list.insert(contentsOf: parts, at: index)
        self.holesCount += parts.count
        self.holes[slot] = list.isEmpty ? nil : list
        return true
    }
}
