import SubscriberAPI
@testable import Pipeline

/// Compares the events that one subscriber received from one channel with the channel's whole history: events are in order and not repeated, and gaps cover
/// exactly the missing events.
struct HistoryChecker {
    enum Item: Equatable {
        case event(Position)
        case gap(from: Position, to: Position, GapReason)
    }

    /// The last position that was delivered or covered by a gap.
    private(set) var position: Position
    private var hasBegun = false
    private(set) var problems: [String] = []

    init(start: Position) {
        self.position = start
    }

    /// `head` is the newest position of the channel. `oldest` is the oldest offset of its epoch that is still stored.
    mutating func take(_ item: Item, head: Position, oldest: UInt64) {
        switch item {
        case .event(let event):
            if event > head { self.problems.append("\(event) is after the head") }
            if event != self.position.next { self.problems.append("\(event) after \(self.position)") }
            self.position = event
        case .gap(let from, let to, let reason):
            if to < from { self.problems.append("a gap from \(from) ends before its beginning, at \(to)") }
            if from != min(self.position.next, to) { self.problems.append("a gap from \(from) after \(self.position)") }
            if to.epoch == head.epoch, to.offset >= oldest, reason != .reset || self.position < to {
                self.problems.append("a gap to \(to) hides events that the history has from \(oldest) on")
            }
            switch reason {
            case .expired, .overflow:
                if to.epoch != from.epoch || to < from { self.problems.append("a gap from \(from) to \(to)") }
            case .reset:
                // A reset without a new epoch is valid only before the first event, for a cursor from the future.
                if to.epoch == self.position.epoch, self.hasBegun { self.problems.append("a reset without a new epoch, at \(self.position)") }
            }
            self.position = to
        }
        self.hasBegun = true
    }

    mutating func finish(head: Position) {
        if self.position != head { self.problems.append("ends at \(self.position), not at \(head)") }
    }
}
