import Partitioning
import Pipeline

/// What this process knows of the partitions that it has sealed in Redis. A pure value, not synchronized: its owner protects it.
struct RedisSeals {
    struct Seal {
        var ownerEpoch: OwnerEpoch
        /// The epoch for channels without a head.
        var floor: UInt64
        /// Heads of older epochs are not trusted: the storage may have lost events after them.
        var trusted: UInt64
        /// The number of this seal, of all seals of the partition in Redis. Appends that were sent under an older one are refused.
        var number: Int64 = 0
        /// The identity of the server that was sealed. Another server may lack events, although it has the seal.
        var storage: String
        /// An append may or may not have been executed, so "not sent" says nothing about the repeated append until Redis has answered one.
        var isAmbiguous = false
        var channelCount = 0
    }

    /// By partition. An array, because every commit reads it.
    private var seals: [Seal?] = []

    /// The lowest floor that a seal may get, also if Redis has lost all data.
    func leastFloor(sealing grant: Grant) -> UInt64 { max(grant.firstEpoch, self[grant.partition]?.floor ?? 0) }

    subscript(partition: PartitionID) -> Seal? {
        get { self.seals.indices.contains(partition) ? self.seals[partition] : nil }
        set {
            while self.seals.count <= partition { self.seals.append(nil) }
            self.seals[partition] = newValue
        }
    }

    /// The seal under this grant. Throws if there is none.
    func seal(_ grant: Grant) throws(LogError) -> Seal {
        guard let seal = self[grant.partition], seal.ownerEpoch >= grant.ownerEpoch else { throw .notSealed(grant) }
        guard seal.ownerEpoch == grant.ownerEpoch else { throw .fenced(grant, by: seal.ownerEpoch) }
        return seal
    }

    mutating func release(_ grant: Grant) {
        if self[grant.partition]?.ownerEpoch == grant.ownerEpoch { self[grant.partition] = nil }
    }

    /// The sealed partitions, in order.
    var grants: [Grant] {
        self.seals.enumerated().compactMap { partition, seal in seal.map { Grant(partition: partition, ownerEpoch: $0.ownerEpoch) } }
    }

    var channelCount: Int { self.seals.reduce(0) { $0 + ($1?.channelCount ?? 0) } }

    /// The head that the owner continues from.
    ///
    /// - Parameters:
    ///   - stored: the head in Redis. Nil if there is none.
    ///   - known: the last committed position that the owner knows. It proves that the storage has kept everything, also when the epoch is not trusted.
    func head(stored: Position?, known: Position?, under seal: Seal) -> (head: Position, lostAfter: Position?) {
        if Defect.positionsFromEvictedStore.isActive { return (stored ?? Position(epoch: seal.floor, offset: 0), nil) }
        if let stored, known.map({ stored >= $0 }) ?? (stored.epoch >= seal.trusted) { return (stored, nil) }
        // The owner has committed no event, so none can be lost.
        if stored == nil, let known, known.offset == 0 { return (known, nil) }
        // The floor is above every epoch that was used in the partition before the seal, and the channel's own head may be of a later epoch.
        let used = max(stored?.epoch ?? 0, known?.epoch ?? 0)
        let head = Position(epoch: max(seal.floor, used + 1), offset: 0)
        if let stored { return (head, stored) }
        guard let known else { return (Position(epoch: seal.floor, offset: 0), nil) }
        return (head, Position(epoch: known.epoch, offset: 0))
    }
}
