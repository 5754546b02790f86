import Partitioning
import Pipeline

/// The owner epoch that each partition is sealed under, and whether the partition is in use now. Not synchronized: a log accesses its fence only under a lock.
struct Fence {
    private struct Seal {
        var ownerEpoch: OwnerEpoch
        /// True if this process has sealed the partition and has not released it.
        var isHeld: Bool
    }

    /// Indexed by partition. An array, because every commit reads it for each of its partitions.
    private var seals: [Seal?] = []

    /// Begins with the owner epochs that former processes stored.
    init(stored: [PartitionID: OwnerEpoch] = [:]) {
        for (partition, ownerEpoch) in stored { self.set(partition, Seal(ownerEpoch: ownerEpoch, isHeld: false)) }
    }

    /// True after the first partition was sealed. Before that, reading is refused.
    private(set) var isSealed = false

    func ownerEpoch(of partition: PartitionID) -> OwnerEpoch? {
        self.seals.indices.contains(partition) ? self.seals[partition]?.ownerEpoch : nil
    }

    /// The reason why this grant cannot be sealed. Nil if it can be sealed.
    func refusal(sealing grant: Grant) -> LogError? {
        guard let sealed = self.ownerEpoch(of: grant.partition), sealed > grant.ownerEpoch else { return nil }
        return .fenced(grant, by: sealed)
    }

    /// The reason why this grant cannot be used. Nil if its partition is sealed under this grant.
    func refusal(using grant: Grant) -> LogError? {
        guard self.seals.indices.contains(grant.partition), let seal = self.seals[grant.partition], seal.ownerEpoch >= grant.ownerEpoch else {
            return .notSealed(grant)
        }
        guard seal.ownerEpoch == grant.ownerEpoch else { return .fenced(grant, by: seal.ownerEpoch) }
        return seal.isHeld ? nil : .notSealed(grant)
    }

    /// The result of ``Log/verify(_:)`` for a storage that only this process writes: it loses no data that it has committed.
    func verify(_ grants: [Grant]) -> [Result<Void, LogError>] {
        grants.map { grant in self.refusal(using: grant).map { .failure($0) } ?? .success(()) }
    }

    mutating func seal(_ grant: Grant) {
        self.isSealed = true
        self.set(grant.partition, Seal(ownerEpoch: grant.ownerEpoch, isHeld: true))
    }

    /// Ends the use of the partition. The owner epoch stays, to fence older owner epochs.
    mutating func release(_ grant: Grant) {
        guard self.ownerEpoch(of: grant.partition) == grant.ownerEpoch else { return }
        self.seals[grant.partition]?.isHeld = false
    }

    private mutating func set(_ partition: PartitionID, _ seal: Seal) {
        while self.seals.count <= partition { self.seals.append(nil) }
        self.seals[partition] = seal
    }
}

extension HistoryIndex {
    /// Checks which events of a batch can be appended: first the fence, then the epochs of the channels. It looks up each event's channel once.
    func check(_ batch: LogBatch, _ fence: Fence) -> BatchCheck {
        var check = BatchCheck(refusals: batch.grants.map { fence.refusal(using: $0) })
        for (event, grantIndex) in zip(batch.events, batch.grantIndices) {
            guard let head = self.head(of: event.event.channel), event.position <= head else { continue }
            check.hasStoredEvents = true
            if event.position.epoch < head.epoch, check.refusals[Int(grantIndex)] == nil { check.refusals[Int(grantIndex)] = .overtaken(event, by: head) }
        }
        return check
    }
}

/// The result of the check that a log makes before it appends a batch.
struct BatchCheck {
    /// For each grant of the batch, the reason why its events cannot be appended. Nil if they can be appended.
    var refusals: [LogError?]
    /// True if a position of the batch is at or before its channel's head: the batch is repeated, or has an older epoch.
    var hasStoredEvents = false

    var isWholeAndNew: Bool { !self.hasStoredEvents && self.refusals.allSatisfy { $0 == nil } }
}
