import Partitioning

/// One partition that was granted to this node, until it is given back.
///
/// What it does to the log is the business of whoever executes ``ClusterMachine``'s actions.
package struct Ownership: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        /// The view says it is ours; the log has not been told.
        /// Can transition to: sealing, out of the table.
        case granted
        /// The log is sealed under our owner epoch, so that nobody commits under an older one.
        /// Can transition to: serving, out of the table.
        case sealing
        /// This node commits, and answers history.
        /// Can transition to: sealed (a move away was asked for), out of the table.
        case serving
        /// Finished: nothing is committed under this owner epoch any more. The controller may grant it on.
        /// Can transition to: granted (under a new owner epoch, when the move failed), out of the table.
        case sealed
    }

    package var state: State
    package var ownerEpoch: Int64
    /// A hand-over was asked for and is not answered.
    var isHandingOver = false
}

extension ClusterMachine {
    mutating func reconcileOwnership(_ turn: inout Turn) {
        guard let view = self.view, let incarnation = self.incarnation, !self.isLeaving else { return }
        // A view that does not know this incarnation grants it nothing: what it names was another process's.
        let isKnown = view.node(self.settings.id)?.incarnation == incarnation
        var toSeal: [Grant] = []
        var toHandOver: [Grant] = []
        var toRelease: [Grant] = []
        for (partition, entry) in view.partitions.enumerated() {
            let isOurs = isKnown && entry.owner == self.settings.id
            if let held = self.ownership[partition], !isOurs || held.ownerEpoch != entry.ownerEpoch {
                toRelease.append(Grant(partition: partition, ownerEpoch: held.ownerEpoch))
                self.ownership[partition] = nil
            }
            // Cut off from ZooKeeper it goes on with what it has, and takes nothing new.
            guard isOurs, self.isConnected || self.ownership[partition] != nil else { continue }
            var held = self.ownership[partition] ?? Ownership(state: .granted, ownerEpoch: entry.ownerEpoch)
            switch held.state {
            case .granted where self.memory.covers(entry.ownerEpoch):
                held.state = .sealing
                toSeal.append(Grant(partition: partition, ownerEpoch: entry.ownerEpoch))
            case .serving where entry.move != nil && !held.isHandingOver:
                held.isHandingOver = true
                toHandOver.append(Grant(partition: partition, ownerEpoch: entry.ownerEpoch))
            case .granted, .sealing, .serving, .sealed:
                break
            }
            self.ownership[partition] = held
        }
        if !toRelease.isEmpty { turn.actions.append(.release(toRelease)) }
        if !toSeal.isEmpty { turn.actions.append(.seal(toSeal)) }
        if !toHandOver.isEmpty { turn.actions.append(.handOver(toHandOver)) }
    }

    mutating func sealed(_ partitions: [Grant]) {
        for owned in partitions {
            // Taken away meanwhile: another owner epoch, or none.
            guard let held = self.ownership[owned.partition], held.ownerEpoch == owned.ownerEpoch, held.state == .sealing else { continue }
            self.ownership[owned.partition]!.state = .serving
        }
    }

    mutating func handedOver(_ partitions: [Grant]) {
        for owned in partitions {
            guard let held = self.ownership[owned.partition], held.ownerEpoch == owned.ownerEpoch, held.state == .serving else { continue }
            self.ownership[owned.partition]!.state = .sealed
        }
    }

    mutating func releaseAll(_ turn: inout Turn) {
        guard !self.ownership.isEmpty else { return }
        turn.actions.append(.release(self.ownership.sorted { $0.key < $1.key }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }))
        self.ownership = [:]
    }
}
