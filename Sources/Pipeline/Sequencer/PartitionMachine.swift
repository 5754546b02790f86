import Partitioning

/// One partition that a sequencer was granted, from the grant to its end. A pure value; ``SequencerMachine`` holds one for each.
///
/// It holds no references, because it is looked into for every event.
struct PartitionMachine {
    enum State: Equatable {
        /// The log is being told of the owner epoch. Publishes wait.
        /// Can transition to:
        ///   - `serving` when the log has sealed the partition,
        ///   - `relinquished` when it is released, or the log knows a newer owner epoch.
        case acquiring
        /// Commits and returns history.
        /// Can transition to:
        ///   - `handingOver` when the partition moves to another node,
        ///   - `relinquished` when it is released, or the log refuses a commit because another owner has taken over.
        case serving
        /// Takes nothing new, and waits for what is with the log.
        /// Can transition to:
        ///   - `relinquished` when that has ended.
        case handingOver
        /// Nothing is committed under this owner epoch any more (invariant I7).
        /// Can transition to: none. The next grant is another machine.
        case relinquished
    }

    let grant: Grant
    private(set) var state = State.acquiring
    /// Its index in the batch that is with the log, or that is being formed.
    private(set) var grantIndex: UInt16?

    init(_ grant: Grant) {
        self.grant = grant
    }

    /// Whether events may be sequenced.
    var isServing: Bool { self.state == .serving }

    // MARK: - Lifecycle

    mutating func sealed() {
        switch self.state {
        case .acquiring: self.state = .serving
        // Sealed again under the same owner epoch: nothing changes.
        case .serving, .handingOver, .relinquished: break
        }
    }

    mutating func handOver() {
        switch self.state {
        case .serving: self.state = self.grantIndex == nil ? .relinquished : .handingOver
        case .acquiring: self.state = .relinquished
        case .handingOver, .relinquished: break
        }
    }

    /// The log knows a newer owner epoch, or the grant has ended.
    mutating func relinquish() { self.state = .relinquished }

    // MARK: - Committing

    /// Its first event in a commit.
    mutating func joined(as index: UInt16) {
        precondition(self.state == .serving && self.grantIndex == nil, "A partition joins a commit once, while it is served")
        self.grantIndex = index
    }

    /// The log has answered for its part of the commit.
    mutating func commitEnded() {
        self.grantIndex = nil
        if self.state == .handingOver { self.state = .relinquished }
    }
}
