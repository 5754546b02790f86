import Partitioning

/// One partition that was granted to this node, until it is released.
package struct Ownership: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        /// The view grants it to this node; the log does not know yet.
        /// Can transition to: sealing, out of the table.
        case granted
        /// The log is being sealed under our owner epoch, so that nothing is committed under an older one.
        /// Can transition to: serving, granted (the log refused, and is to be tried again), out of the table.
        case sealing
        /// This node commits, and serves history.
        /// Can transition to: sealed (a move away was requested), out of the table.
        case serving
        /// Finished: nothing is committed under this owner epoch any more. The controller may grant it on.
        /// Can transition to: granted (under a new owner epoch, when the move failed), out of the table.
        case sealed
    }

    package var state: State
    package var ownerEpoch: Int64
    /// A handoff was requested and is not finished.
    var isHandingOver = false
}

/// The partitions that the view grants to this node, and their states in its storage. A pure value.
struct OwnershipMachine: Sendable {
    enum Effect: Hashable, Sendable {
        /// Seal the log under these owner epochs, then report it.
        case seal([Grant])
        /// Finish commits in flight and accept nothing new, then report it.
        case handOver([Grant])
        /// They belong to other nodes now: stop immediately.
        case release([Grant])
    }

    private(set) var partitions: [Int: Ownership] = [:]

    /// - Parameters:
    ///   - isConnected: without a connection to ZooKeeper this node keeps what it has, and takes nothing new.
    ///   - isCovered: whether an owner epoch may be used yet.
    mutating func follow(
        _ view: ClusterView, id: String, incarnation: Int64, isConnected: Bool, isCovered: (Int64) -> Bool
    ) -> [Effect] {
        // A view without this incarnation grants it nothing: its grants were for another process.
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

    /// The log is ready for them.
    mutating func sealed(_ partitions: [Grant]) { self.change(partitions, from: .sealing, to: .serving) }

    /// The log refused them. The next ``follow(_:id:incarnation:isConnected:isCovered:)`` requests it again, if they are still granted.
    mutating func refused(_ partitions: [Grant]) { self.change(partitions, from: .sealing, to: .granted) }

    /// What is served, by partition.
    var serving: [Grant] {
        self.partitions.filter { $0.value.state == .serving }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }
            .sorted { $0.partition < $1.partition }
    }

    mutating func handedOver(_ partitions: [Grant]) { self.change(partitions, from: .serving, to: .sealed) }

    private mutating func change(_ partitions: [Grant], from state: Ownership.State, to next: Ownership.State) {
        for owned in partitions {
            // Another owner epoch, or none: it was revoked meanwhile.
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
