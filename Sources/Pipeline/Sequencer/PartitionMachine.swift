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
        ///   - `doubtful` when it is unknown whether the log has stored the last commit,
        ///   - `acquiring` when the log has lost data of the partition, and it must be sealed again,
        ///   - `handingOver` when the partition moves to another node,
        ///   - `relinquished` when the partition is released, or the log refuses a commit because the partition has a newer owner.
        case serving
        /// It is unknown whether the log has stored the partition's last commit. It is repeated until the result is known. History is returned, and publishes are
        /// refused. Other partitions are not affected.
        /// Can transition to:
        ///   - `serving` when the result is known,
        ///   - `relinquished` when the partition moves to another node, is released, or has a newer owner. The seal of the next owner ends the doubt.
        case doubtful
        /// Publishes are refused. The commit in flight has not ended yet.
        /// Can transition to:
        ///   - `relinquished` when that commit has ended, or when its result is unknown.
        case handingOver
        /// Nothing is committed under this owner epoch any more.
        /// Can transition to: none. The next grant gets a new machine.
        case relinquished
    }

    let grant: Grant
    /// Differs from the serial of every other machine. A grant that was released may be acquired again while its last commit is in flight.
    let serial: UInt64
    private(set) var state = State.acquiring
    /// The grant's index in the log batch that is being formed or is in flight. Nil if the batch has no event of this partition.
    private(set) var grantIndex: UInt16?

    init(_ grant: Grant, serial: UInt64) {
        self.grant = grant
        self.serial = serial
    }

    /// True if the partition's heads are known to this node, and history is returned.
    var isServing: Bool {
        switch self.state {
        case .serving, .doubtful: true
        case .acquiring, .handingOver, .relinquished: false
        }
    }

    /// True while publishes belong here: they are committed now or after the seal, or the log is in doubt.
    var isHeld: Bool {
        switch self.state {
        case .acquiring, .serving, .doubtful: true
        case .handingOver, .relinquished: false
        }
    }

    // MARK: - Lifecycle

    mutating func sealed() {
        switch self.state {
        case .acquiring: self.state = .serving
        // Sealed again under the same owner epoch: nothing changes.
        case .serving, .doubtful, .handingOver, .relinquished: break
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
        // The next owner's seal decides whether the doubtful commit is stored, so nothing waits for the log.
        case .acquiring, .doubtful: self.state = .relinquished
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
        switch self.state {
        case .doubtful: self.state = .serving
        case .handingOver: self.state = .relinquished
        case .acquiring, .serving, .relinquished: break
        }
    }

    /// The log does not know whether it has stored this partition's events. Returns false if the grant ends anyway.
    mutating func commitBecameDoubtful() -> Bool {
        guard self.state == .serving else { return false }
        self.grantIndex = nil
        self.state = .doubtful
        return true
    }
}
