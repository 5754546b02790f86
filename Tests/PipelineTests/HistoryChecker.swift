@testable import Pipeline

/// What one subscriber was given of one channel, in order, held against the channel's whole history: no loss, no repeat, in order, or a gap that covers
/// exactly what is missing.
struct HistoryChecker {
    enum Item: Equatable {
        case event(Position)
        case gap(from: Position, to: Position, Gap.Reason)
    }

    /// The last position that is accounted for.
    private(set) var position: Position
    private var hasBegun = false
    private(set) var problems: [String] = []

    init(start: Position) {
        self.position = start
    }

    /// `head` is the newest position of the channel and `oldest` the oldest offset of its epoch that history still holds.
    mutating func take(_ item: Item, head: Position, oldest: UInt64) {
        switch item {
        case .event(let event):
            if event > head { self.problems.append("\(event) has not happened") }
            if event != self.position.next { self.problems.append("\(event) after \(self.position)") }
            self.position = event
        case .gap(let from, let to, let reason):
            if to < from { self.problems.append("a gap from \(from) ends before it, at \(to)") }
            if from != min(self.position.next, to) { self.problems.append("a gap from \(from) after \(self.position)") }
            if to.epoch == head.epoch, to.offset >= oldest, reason != .reset || self.position < to {
                self.problems.append("a gap to \(to) hides what history holds from \(oldest) on")
            }
            switch reason {
            case .expired, .overflow:
                if to.epoch != from.epoch || to < from { self.problems.append("a gap from \(from) to \(to)") }
            case .reset:
                // Only a cursor from the future is reset inside its epoch, before anything else.
                if to.epoch == self.position.epoch, self.hasBegun { self.problems.append("a reset inside an epoch, at \(self.position)") }
            }
            self.position = to
        }
        self.hasBegun = true
    }

    mutating func finish(head: Position) {
        if self.position != head { self.problems.append("ends at \(self.position), not at \(head)") }
    }
}
