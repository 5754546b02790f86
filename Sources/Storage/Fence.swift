import Partitioning
import Pipeline

/// The owner epochs that partitions are sealed under, and which of them are served from this log now. A value without threads: its owner guards it.
struct Fence {
    private struct Seal {
        var ownerEpoch: OwnerEpoch
        /// Sealed in this process, and not released.
        var isHeld: Bool
    }

    /// By partition. An array, because it is looked into for each partition of each commit.
    private var seals: [Seal?] = []

    /// What was stored by processes before this one.
    init(stored: [PartitionID: OwnerEpoch] = [:]) {
        for (partition, ownerEpoch) in stored { self.set(partition, Seal(ownerEpoch: ownerEpoch, isHeld: false)) }
    }

    /// Nothing is read before the first partition is sealed.
    private(set) var isSealed = false

    func ownerEpoch(of partition: PartitionID) -> OwnerEpoch? {
        self.seals.indices.contains(partition) ? self.seals[partition]?.ownerEpoch : nil
    }

    /// Why this grant may not be sealed; nil if it may.
    func refusal(sealing grant: Grant) -> LogError? {
        guard let sealed = self.ownerEpoch(of: grant.partition), sealed > grant.ownerEpoch else { return nil }
        return .fenced(grant, by: sealed)
    }

    /// Why nothing may be done under this grant; nil if it is the one that was sealed.
    func refusal(using grant: Grant) -> LogError? {
        guard self.seals.indices.contains(grant.partition), let seal = self.seals[grant.partition], seal.ownerEpoch >= grant.ownerEpoch else {
            return .notSealed(grant)
        }
        guard seal.ownerEpoch == grant.ownerEpoch else { return .fenced(grant, by: seal.ownerEpoch) }
        return seal.isHeld ? nil : .notSealed(grant)
    }

    mutating func seal(_ grant: Grant) {
        self.isSealed = true
        self.set(grant.partition, Seal(ownerEpoch: grant.ownerEpoch, isHeld: true))
    }

    /// The owner epoch stays, to fence older ones.
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
    /// What may be appended of a batch: the fence first, then the epochs of the channels. One look-up an event.
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

/// What a log finds out about a batch before it appends.
struct BatchCheck {
    /// Why parts of the batch may not be appended, by the index of their grant; nil for those that may.
    var refusals: [LogError?]
    /// A position of the batch is not beyond its channel's head: the batch is repeated, or was overtaken.
    var hasStoredEvents = false

    var isWholeAndNew: Bool { !self.hasStoredEvents && self.refusals.allSatisfy { $0 == nil } }
}
