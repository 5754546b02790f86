import Partitioning

/// Commits of which it is unknown whether the log has stored them: the reply was lost, for example.
///
/// Each of them has the events of one partition. Until its result is known, nothing else is committed in the partition: the positions of its events may be used.
/// Other partitions continue. The caller appends all of them again and again, and what is stored already is skipped by the log.
extension SequencerMachine {
    var hasDoubts: Bool { !self.doubts.isEmpty }

    /// All events in doubt, for one append. `serials` has the machine of each grant.
    var doubtfulBatch: (batch: LogBatch, serials: [UInt64]) {
        var batch = LogBatch()
        for doubt in self.doubts {
            let index = batch.add(doubt.batch.grants[0])
            for event in doubt.batch.events { batch.add(event, grantIndex: index) }
        }
        return (batch, self.doubts.map { $0.serials[0] })
    }

    /// The log has returned this result for one grant of ``doubtfulBatch``. Returns nil if the result is still unknown, or if the grant has ended. Otherwise the
    /// caller acknowledges and relays the commit.
    mutating func resolved(_ serial: UInt64, _ result: Result<Void, LogError>) -> (commit: Commit, ended: Ended)? {
        guard !result.isUncertain, let index = self.doubts.firstIndex(where: { $0.serials[0] == serial }) else { return nil }
        return self.with(self.doubts.remove(at: index)) { $0.apply([result]) }
    }

    /// Takes the publishes whose commits are in doubt since `time`, for the caller to refuse. Their events stay in doubt.
    mutating func stoppedWaiting(since time: Int64) -> [PublishBatch] {
        var batches: [PublishBatch] = []
        for index in self.doubts.indices where self.doubts[index].formedAt <= time {
            batches += self.doubts[index].parts.map(\.batch)
            self.doubts[index].parts = []
        }
        return batches
    }

    /// Ends the doubts whose grants have ended: whether their events are stored, the next owner finds out. The caller acknowledges these commits, which refuses
    /// their publishes as moved, before it informs the edges.
    mutating func takeEndedDoubts() -> [Commit] {
        defer { self.endedDoubts = [] }
        return self.endedDoubts
    }

    /// The grant of the partition has ended, or its hand-over does not wait for the log.
    mutating func endDoubt(of partition: PartitionID) {
        guard let serial = self.partitions[partition]?.serial, let index = self.doubts.firstIndex(where: { $0.serials[0] == serial }) else { return }
        let unknown = Result<Void, LogError>.failure(LogError(.uncertain, "the partition has moved"))
        self.endedDoubts.append(self.with(self.doubts.remove(at: index)) { $0.apply([unknown]) }.commit)
    }

    /// Takes the events with unknown results out of the commit. Returns the results of the grants that are left. A grant that has ended stays, and its publishes
    /// are refused as moved.
    mutating func setAsideDoubts(_ results: [Result<Void, LogError>]) -> [Result<Void, LogError>] {
        // The doubt of each grant, as an index into `set`.
        var set: [Commit] = []
        var doubtOfGrant: [Int?] = Array(repeating: nil, count: results.count)
        var doubtOfPartition: [PartitionID: Int] = [:]
        var rest = Commit()
        rest.formedAt = self.commit.formedAt
        rest.unreadable = self.commit.unreadable
        var restResults: [Result<Void, LogError>] = []
        var restIndices: [UInt16] = Array(repeating: 0, count: results.count)
        for (index, grant) in self.commit.batch.grants.enumerated() {
            let serial = self.commit.serials[index]
            if results[index].isUncertain, self.partitions[grant.partition]?.serial == serial, self.partitions[grant.partition]!.commitBecameDoubtful() {
                var doubt = Commit()
                doubt.formedAt = self.commit.formedAt
                _ = doubt.batch.add(grant)
                doubt.serials = [serial]
                doubtOfGrant[index] = set.count
                doubtOfPartition[grant.partition] = set.count
                set.append(doubt)
            } else {
                restIndices[index] = rest.batch.add(grant)
                rest.serials.append(serial)
                restResults.append(results[index])
            }
        }
        for (number, event) in self.commit.batch.events.enumerated() {
            let grant = Int(self.commit.batch.grantIndices[number])
            if let doubt = doubtOfGrant[grant] {
                set[doubt].add(event, 0, self.commit, number)
            } else {
                rest.add(event, restIndices[grant], self.commit, number)
            }
        }
        for part in self.commit.parts {
            // In runs, because a batch may have events of several partitions.
            var batch = part.batch
            var outcomes = part.outcomes[...]
            if batch.events.isEmpty { rest.parts.append(part) }
            while let first = batch.events.first {
                let doubt = doubtOfPartition[self.channels.partition(of: first.channel)]
                let count = batch.events.prefix { doubtOfPartition[self.channels.partition(of: $0.channel)] == doubt }.count
                let run = (batch.removePart(count), Array(outcomes.prefix(count)))
                outcomes = outcomes.dropFirst(count)
                if let doubt { set[doubt].parts.append(run) } else { rest.parts.append(run) }
            }
        }
        self.commit = rest
        self.doubts += set
        return restResults
    }
}

extension SequencerMachine.Commit {
    /// Adds an event of another commit.
    fileprivate mutating func add(_ event: SequencedEvent, _ grantIndex: UInt16, _ other: Self, _ number: Int) {
        self.batch.add(event, grantIndex: grantIndex)
        self.places.append(other.places[number])
        self.keys.append(other.keys[number])
    }
}
