import Partitioning

/// One grant of a partition, from its start to its end. A pure value; ``SequencerMachine`` holds one for each partition.
///
/// The machine holds no references, so that reading it for every event needs no reference counting.
struct PartitionMachine {
    enum State: Equatable {
        /// The log is being sealed under the owner epoch. Publishes are parked.
        /// Can transition to:
        ///   - `serving` when the log has sealed the partition,
        ///   - `relinquished` when the partition is released, or the log knows a newer owner epoch.
        case acquiring
        /// Events are committed, and history is returned.
        /// Can transition to:
        ///   - `acquiring` when the log has lost data of the partition, and it must be sealed again,
        ///   - `handingOver` when the partition moves to another node,
        ///   - `relinquished` when the partition is released, or the log refuses a commit because the partition has a newer owner.
        case serving
        /// Publishes are refused. The commit in flight has not ended yet.
        /// Can transition to:
        ///   - `relinquished` when that commit has ended.
        case handingOver
        /// Nothing is committed under this owner epoch any more.
        /// Can transition to: none. The next grant gets a new machine.
        case relinquished
    }

    let grant: Grant
    private(set) var state = State.acquiring
    /// The grant's index in the log batch that is being formed or is in flight. Nil if the batch has no event of this partition.
    private(set) var grantIndex: UInt16?

    init(_ grant: Grant) {
        self.grant = grant
    }

    /// True if events of the partition may be sequenced.
    var isServing: Bool { self.state == .serving }

    /// True if publishes are accepted: they are committed now, or after the seal.
    var isHeld: Bool {
        switch self.state {
        case .acquiring, .serving: true
        case .handingOver, .relinquished: false
        }
    }

    // MARK: - Lifecycle

    mutating func sealed() {
        switch self.state {
        case .acquiring: self.state = .serving
        // Sealed again under the same owner epoch: nothing changes.
        case .serving, .handingOver, .relinquished: break
        }
    }

    /// The log has lost data of the partition, or may have: it must be sealed again. Returns false if nothing is served under the grant, or if a commit is in
    /// flight, whose result will report the same.
    mutating func lost() -> Bool {
        guard self.state == .serving, self.grantIndex == nil else { return false }
        self.state = .acquiring
        return true
    }

    mutating func handOver() {
        switch self.state {
        case .serving: self.state = self.grantIndex == nil ? .relinquished : .handingOver
        case .acquiring: self.state = .relinquished
        case .handingOver, .relinquished: break
        }
    }

    /// The log was sealed under a newer owner epoch, or the grant has ended.
    mutating func relinquish() { self.state = .relinquished }

    // MARK: - Committing

    /// The partition has its first event in a commit.
    mutating func joined(as index: UInt16) {
        precondition(self.state == .serving && self.grantIndex == nil, "A partition joins a commit once, while it is served")
        self.grantIndex = index
    }

    /// The log has returned a result for this partition's events.
    mutating func commitEnded() {
        self.grantIndex = nil
        if self.state == .handingOver { self.state = .relinquished }
    }
}
