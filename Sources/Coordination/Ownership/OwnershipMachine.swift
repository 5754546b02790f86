import Partitioning

/// The ownership of one partition, from its grant to this node until its release.
package struct Ownership: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        /// The view grants the partition to this node. The log is not sealed yet.
        /// Can transition to: sealing, released.
        case granted
        /// The log is being sealed under the new owner epoch, so that nothing is committed under an older one.
        /// Can transition to: serving, granted (the log refused, and is to be sealed again), released.
        case sealing
        /// This node commits events, and serves history.
        /// Can transition to: sealed (a handoff has finished, or the log has refused the grant), released.
        case serving
        /// Nothing is committed under this owner epoch any more, so the controller may grant the partition again.
        /// Can transition to: granted (under a new owner epoch, if the move failed), released.
        case sealed
    }

    package var state: State
    package var ownerEpoch: Int64
    /// Whether a handoff has begun and not finished.
    var isHandingOver = false
}

/// The partitions that the view grants to this node, and their states in its storage. A pure value.
struct OwnershipMachine: Sendable {
    enum Effect: Hashable, Sendable {
        /// Seal the log under these owner epochs, then call ``OwnershipMachine/sealed(_:)``.
        case seal([Grant])
        /// Finish commits in flight and accept no new events, then call ``OwnershipMachine/handedOver(_:)``.
        case handOver([Grant])
        /// Stop serving these partitions immediately, because they may belong to other nodes now.
        case release([Grant])
    }

    private(set) var partitions: [Int: Ownership] = [:]

    /// Follows a view: takes new grants, begins handoffs, and releases partitions that the view grants to other nodes.
    ///
    /// - Parameters:
    ///   - isConnected: without a connection to ZooKeeper this node keeps its partitions, and takes no new ones.
    ///   - isCovered: whether an owner epoch is covered by the reservation on disk, so that it may be used.
    mutating func follow(
        _ view: ClusterView, id: String, incarnation: Int64, isConnected: Bool, isCovered: (Int64) -> Bool
    ) -> [Effect] {
        // A view with another incarnation of this node grants nothing to this process.
        let isKnown = view.node(id)?.incarnation == incarnation
        var toSeal: [Grant] = []
        var toHandOver: [Grant] = []
        var toRelease: [Grant] = []
        for (partition, entry) in view.partitions.enumerated() {
            let isOurs = isKnown && entry.owner == id
            if let held = self.partitions[partition], !isOurs || held.ownerEpoch != entry.ownerEpoch {
                toRelease.append(Grant(partition: partition, ownerEpoch: held.ownerEpoch))
                self.partitions[partition] = nil
            }
            guard isOurs, isConnected || self.partitions[partition] != nil else { continue }
            var held = self.partitions[partition] ?? Ownership(state: .granted, ownerEpoch: entry.ownerEpoch)
            switch held.state {
            case .granted where isCovered(entry.ownerEpoch):
                held.state = .sealing
                toSeal.append(Grant(partition: partition, ownerEpoch: entry.ownerEpoch))
            case .serving where entry.move != nil && !held.isHandingOver:
                held.isHandingOver = true
                toHandOver.append(Grant(partition: partition, ownerEpoch: entry.ownerEpoch))
            case .granted, .sealing, .serving, .sealed:
                break
            }
            self.partitions[partition] = held
        }
        var effects: [Effect] = []
        if !toRelease.isEmpty { effects.append(.release(toRelease)) }
        if !toSeal.isEmpty { effects.append(.seal(toSeal)) }
        if !toHandOver.isEmpty { effects.append(.handOver(toHandOver)) }
        return effects
    }

    /// The log has been sealed for these grants. A grant that ended meanwhile is released again,
    /// because its release may have reached the storage before its seal.
    mutating func sealed(_ partitions: [Grant]) -> [Effect] {
        self.change(partitions, from: .sealing, to: .serving)
        let ended = partitions.filter { self.partitions[$0.partition]?.ownerEpoch != $0.ownerEpoch }
        return ended.isEmpty ? [] : [.release(ended)]
    }

    /// The log refused to seal these grants. The next ``follow(_:id:incarnation:isConnected:isCovered:)`` requests the seal again,
    /// if the view still contains them.
    mutating func refused(_ partitions: [Grant]) { self.change(partitions, from: .sealing, to: .granted) }

    /// The grants that this node serves, in the order of partitions.
    var serving: [Grant] {
        self.partitions.filter { $0.value.state == .serving }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }
            .sorted { $0.partition < $1.partition }
    }

    mutating func handedOver(_ partitions: [Grant]) { self.change(partitions, from: .serving, to: .sealed) }

    /// The storage serves these grants no longer, because the log has refused them. The report says so, and the controller grants the partitions again under new
    /// owner epochs.
    mutating func fenced(_ partitions: [Grant]) { self.change(partitions, from: .serving, to: .sealed) }

    private mutating func change(_ partitions: [Grant], from state: Ownership.State, to next: Ownership.State) {
        for owned in partitions {
            // If the held owner epoch is another one, or if there is none, the grant was revoked meanwhile.
            guard let held = self.partitions[owned.partition], held.ownerEpoch == owned.ownerEpoch, held.state == state else { continue }
            self.partitions[owned.partition]!.state = next
        }
    }

    mutating func releaseAll() -> [Effect] {
        guard !self.partitions.isEmpty else { return [] }
        let all = self.partitions.sorted { $0.key < $1.key }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }
        self.partitions = [:]
        return [.release(all)]
    }
}
