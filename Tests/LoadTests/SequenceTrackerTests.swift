import Testing

@testable import Load

@Suite struct SequenceTrackerTests {
    @Test func countsALoss() {
        var tracker = SequenceTracker(slots: 2)
        for sequence: UInt64 in [1, 2, 4, 5] { #expect(self.note(&tracker, sequence) == .first) }
        #expect(self.lost(tracker, last: 5) == 1)
        #expect(self.lost(tracker, last: 8) == 4)
        #expect(self.lost(tracker, last: 3) == 1)
        #expect(self.lost(tracker, last: 2) == 0)
        #expect(self.lost(tracker, last: 8, unless: [3, 7]) == 2)
        #expect(self.lost(tracker, slot: 1, last: 3) == 3)
    }

    @Test func countsARepetition() {
        var tracker = SequenceTracker(slots: 1)
        for sequence: UInt64 in [1, 2, 3] { _ = self.note(&tracker, sequence) }
        #expect(self.note(&tracker, 2) == .repeated)
        #expect(self.note(&tracker, 3) == .repeated)
        #expect(self.counts(tracker) == [2, 0])
        #expect(self.lost(tracker, last: 3) == 0)
    }

    @Test func distinguishesLateFromRepeated() {
        var tracker = SequenceTracker(slots: 1)
        #expect(self.note(&tracker, 1) == .first)
        #expect(self.note(&tracker, 5) == .first)
        #expect(self.note(&tracker, 3) == .late)
        #expect(self.note(&tracker, 3) == .repeated)
        #expect(self.note(&tracker, 5) == .repeated)
        #expect(self.counts(tracker) == [2, 1])
        #expect(self.lost(tracker, last: 5) == 2)
    }

    @Test func aFullTableStillCountsLosses() {
        var tracker = SequenceTracker(slots: 1, holesMax: 1)
        for sequence: UInt64 in [2, 5, 9] { _ = self.note(&tracker, sequence) }
        #expect(self.lost(tracker, last: 10) == 1 + 2 + 3 + 1)
    }

    /// Compares the tracker with a model that stores every event.
    @Test(arguments: 0..<50) func randomWalk(seed: Int) {
        var tracker = SequenceTracker(slots: 3)
        var seen: [Set<UInt64>] = [[], [], []]
        var highest: [UInt64] = [0, 0, 0]
        var repeated: UInt64 = 0
        var reordered: UInt64 = 0
        for _ in 0..<500 {
            let slot = Int.random(in: 0..<3)
            let next = highest[slot] + 1
            let sequence =
                switch Int.random(in: 0..<10) {
                case 0: next + UInt64.random(in: 1...5)
                case 1, 2: UInt64.random(in: 1...next)
                default: next
                }
            let expected: SequenceTracker.Arrival = seen[slot].contains(sequence) ? .repeated : sequence > highest[slot] ? .first : .late
            #expect(self.note(&tracker, sequence, slot: slot) == expected)
            if expected == .repeated { repeated += 1 }
            if expected == .late { reordered += 1 }
            seen[slot].insert(sequence)
            highest[slot] = max(highest[slot], sequence)
        }
        #expect(self.counts(tracker) == [repeated, reordered])
        for slot in 0..<3 {
            let last = highest[slot] + 3
            let missing = (1...last).filter { !seen[slot].contains($0) }
            #expect(self.lost(tracker, slot: slot, last: last) == UInt64(missing.count))
            #expect(self.lost(tracker, slot: slot, last: last, unless: Array(missing.prefix(2))) == UInt64(missing.count - min(2, missing.count)))
        }
    }

    // The macro copies its argument, and a tracker cannot be copied.
    private func note(_ tracker: inout SequenceTracker, _ sequence: UInt64, slot: Int = 0) -> SequenceTracker.Arrival {
        tracker.note(sequence, slot: slot)
    }

    private func counts(_ tracker: borrowing SequenceTracker) -> [UInt64] { [tracker.repeated, tracker.reordered] }
    private func lost(_ tracker: borrowing SequenceTracker, slot: Int = 0, last: UInt64, unless: [UInt64] = []) -> UInt64 {
        tracker.lost(slot: slot, last: last, unless: unless)
    }
}
