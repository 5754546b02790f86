package import Partitioning

/// The ownership of one partition, from its grant to this node until its release.
package struct Ownership: Hashable, Sendable {
    package enum State: String, Hashable, Sendable, CaseIterable {
        /// The view grants the partition to this node. The log is not sealed yet.
        /// Can transition to: sealing, sealed or reclaiming (the log is sealed under a newer owner epoch), released.
        case granted
        /// The log is being sealed under the new owner epoch, so that nothing is committed under an older one.
        /// Can transition to: serving, granted (the log refused, and is to be sealed again), sealed or reclaiming (the log is sealed under a newer owner epoch),
        /// released.
        case sealing
        /// This node commits events, and serves history.
        /// Can transition to: sealed (a handoff has finished, or the log is sealed under a newer owner epoch), reclaiming (a handoff has failed), released.
        case serving
        /// Nothing is committed under this owner epoch any more, so the controller may grant the partition again.
        /// Can transition to: granted (under a new owner epoch, if the move failed), reclaiming, released.
        case sealed
        /// Nothing is committed under this owner epoch any more, and the controller must not complete a move. If no newer view ends this grant, this node
        /// writes a view that grants the partition to itself under a newer owner epoch.
        /// Can transition to: granted (under a new owner epoch), released.
        case reclaiming
    }

    package var state: State
    package var ownerEpoch: Int64
    /// Whether a handoff has begun and not finished.
    var isHandingOver = false
}

/// One partition that moves to another node.
package struct Handoff: Hashable, Sendable {
    package var grant: Grant
    /// The process that gets the partition. Nil if that node has no process now.
    package var target: ProcessID?

    package init(grant: Grant, target: ProcessID?) {
        self.grant = grant
        self.target = target
    }
}

/// The partitions that the view grants to this node, and their states in its storage. A pure value.
struct OwnershipMachine: Sendable {
    enum Effect: Hashable, Sendable {
        /// Seal the log under these owner epochs, then call ``OwnershipMachine/sealed(_:)``.
        case seal([Grant])
        /// Finish commits in flight and accept no new events, then call ``OwnershipMachine/handedOver(_:at:)`` or ``OwnershipMachine/handoffFailed(_:at:)``.
        case handOver([Handoff])
        /// Stop serving these partitions immediately, because they may belong to other nodes now.
        case release([Grant])
        /// Write a view that grants these partitions to this node, under these owner epochs. The write must fail if there is a newer view. The machine requests
        /// it again until a view ends the present grants.
        case reclaim([Grant])
    }

    /// When this node reclaims a partition that it does not serve any more.
    private struct Reclaim: Hashable, Sendable {
        var due: ContinuousClock.Instant
        /// Whether the log is sealed under a newer owner epoch than the grant.
        var isFenced = false
    }

    /// With a log that fences, an owner continues to serve after its session was lost: see ``ClusterSettings/isLogFencing``.
    private let isLogFencing: Bool
    private let handoffMax: Duration
    private(set) var partitions: [Int: Ownership] = [:]
    /// By partition, for the partitions in the states `sealed` and `reclaiming`.
    private var reclaims: [Int: Reclaim] = [:]
    /// How often in a row the log was sealed under a newer owner epoch than the grant, by partition. Empty again when the partition is served.
    private var fencedCounts: [Int: Int] = [:]

    /// - Parameter handoffMax: see ``ClusterSettings/handoffMax``.
    init(isLogFencing: Bool = false, handoffMax: Duration = .seconds(2)) {
        self.isLogFencing = isLogFencing
        self.handoffMax = handoffMax
    }

    /// Follows a view: takes new grants, begins handoffs, reclaims partitions, and releases partitions that the view grants to other nodes.
    ///
    /// - Parameters:
    ///   - incarnation: nil while this node is not a member.
    ///   - isConnected: without a connection to ZooKeeper this node keeps its partitions, and takes no new ones.
    ///   - isCovered: whether an owner epoch is covered by the reservation on disk, so that it may be used.
    mutating func follow(
        _ view: ClusterView, id: String, incarnation: Int64?, isConnected: Bool, at now: ContinuousClock.Instant, isCovered: (Int64) -> Bool
    ) -> [Effect] {
        // A view with another incarnation of this node grants nothing new to this process.
        let isKnown = incarnation != nil && view.node(id)?.incarnation == incarnation
        var toSeal: [Grant] = []
        var toHandOver: [Handoff] = []
        var toRelease: [Grant] = []
        for (partition, entry) in view.partitions.enumerated() {
            let isOurs = isKnown && entry.owner == id
            if let held = self.partitions[partition], held.ownerEpoch != entry.ownerEpoch || !(isOurs || self.keeps(entry, id)) {
                toRelease.append(Grant(partition: partition, ownerEpoch: held.ownerEpoch))
                self.partitions[partition] = nil
                self.reclaims[partition] = nil
            }
            guard isOurs, isConnected || self.partitions[partition] != nil else { continue }
            var held = self.partitions[partition] ?? Ownership(state: .granted, ownerEpoch: entry.ownerEpoch)
            switch held.state {
            case .granted where isCovered(entry.ownerEpoch):
                held.state = .sealing
                toSeal.append(Grant(partition: partition, ownerEpoch: entry.ownerEpoch))
            case .serving where !held.isHandingOver:
                guard let move = entry.move else { break }
                held.isHandingOver = true
                toHandOver.append(Handoff(grant: Grant(partition: partition, ownerEpoch: entry.ownerEpoch), target: view.node(move.to)?.process))
            case .granted, .sealing, .serving, .sealed, .reclaiming:
                break
            }
            self.partitions[partition] = held
        }
        var effects: [Effect] = []
        if !toRelease.isEmpty { effects.append(.release(toRelease)) }
        if !toSeal.isEmpty { effects.append(.seal(toSeal)) }
        if !toHandOver.isEmpty { effects.append(.handOver(toHandOver)) }
        if isKnown, isConnected { effects += self.reclaim(at: now, isCovered: isCovered) }
        return effects
    }

    /// Whether a grant of this process that the view does not contain any more, because the session was lost, is kept: no other process has a newer grant, and
    /// if one gets it, its seal makes the log refuse this node's commits. An owner epoch belongs to one incarnation, so the entry is this process's grant.
    private func keeps(_ entry: ClusterView.Partition, _ id: String) -> Bool { self.isLogFencing && (entry.owner == nil || entry.owner == id) }

    /// This node's session was lost, or its member znode was removed.
    mutating func membershipLost() -> [Effect] { self.isLogFencing ? [] : self.releaseAll() }

    // MARK: - Results of the storage

    /// The log has been sealed for these grants. A grant that ended meanwhile is released again,
    /// because its release may have reached the storage before its seal.
    mutating func sealed(_ partitions: [Grant]) -> [Effect] {
        for grant in self.change(partitions, from: [.sealing], to: .serving) { self.fencedCounts[grant.partition] = nil }
        let ended = partitions.filter { self.partitions[$0.partition]?.ownerEpoch != $0.ownerEpoch }
        return ended.isEmpty ? [] : [.release(ended)]
    }

    /// The log refused to seal these grants. The next ``follow(_:id:incarnation:isConnected:at:isCovered:)`` requests the seal again, if the view still contains
    /// them.
    mutating func refused(_ partitions: [Grant]) { self.change(partitions, from: [.sealing], to: .granted) }

    /// Nothing is committed under these grants any more. The controller learns it from the next report, and completes the move. If it does not do so in time,
    /// this node takes the partitions back.
    mutating func handedOver(_ partitions: [Grant], at now: ContinuousClock.Instant) {
        for grant in self.change(partitions, from: [.serving], to: .sealed) { self.reclaims[grant.partition] = Reclaim(due: now.advanced(by: self.handoffMax)) }
    }

    /// Nothing is committed under these grants any more, and the targets of their moves cannot be reached. So this node takes the partitions back.
    mutating func handoffFailed(_ partitions: [Grant], at now: ContinuousClock.Instant) {
        for grant in self.change(partitions, from: [.serving], to: .reclaiming) { self.reclaims[grant.partition] = Reclaim(due: now) }
    }

    /// The log is sealed under newer owner epochs than these grants. Returns whether a held grant is affected: then the view is read again.
    ///
    /// Usually a newer view is on its way, and ends the grants. If there is none, ZooKeeper has lost grants, or the log was used by another cluster. Then the
    /// controller or this node grants the partitions again under higher owner epochs, in growing steps, until the log accepts one.
    mutating func fenced(_ partitions: [Grant], at now: ContinuousClock.Instant) -> Bool {
        var isAffected = false
        for grant in partitions {
            // The controller grants the partition again under the next owner epoch. If the log refuses that one too, it may be far ahead.
            let next: Ownership.State = self.fencedCounts[grant.partition] == nil ? .sealed : .reclaiming
            guard !self.change([grant], from: [.granted, .sealing, .serving], to: next).isEmpty else { continue }
            self.reclaims[grant.partition] = Reclaim(due: now.advanced(by: Self.fencedWait), isFenced: true)
            self.fencedCounts[grant.partition, default: 0] += 1
            isAffected = true
        }
        return isAffected
    }

    /// How long a newer view may take to arrive after the log has refused a grant.
    private static let fencedWait = Duration.seconds(1)

    @discardableResult
    private mutating func change(_ partitions: [Grant], from states: [Ownership.State], to next: Ownership.State) -> [Grant] {
        partitions.filter { owned in
            // If the held owner epoch is another one, or if there is none, the grant was revoked meanwhile.
            guard let held = self.partitions[owned.partition], held.ownerEpoch == owned.ownerEpoch, states.contains(held.state) else { return false }
            self.partitions[owned.partition]!.state = next
            return true
        }
    }

    // MARK: - Taking partitions back

    private mutating func reclaim(at now: ContinuousClock.Instant, isCovered: (Int64) -> Bool) -> [Effect] {
        guard let first = self.reclaims.values.map(\.due).min(), first <= now else { return [] }
        var grants: [Grant] = []
        for (partition, reclaim) in self.reclaims where reclaim.due <= now {
            guard let held = self.partitions[partition] else { continue }
            var step = reclaim.isFenced ? Int64(1) << min(self.fencedCounts[partition, default: 1] - 1, 20) : 1
            while step > 1, !isCovered(held.ownerEpoch + step) { step /= 2 }
            // Without a result, the next attempt follows a second later.
            self.reclaims[partition]!.due = now.advanced(by: .seconds(1))
            guard isCovered(held.ownerEpoch + step) else { continue }
            grants.append(Grant(partition: partition, ownerEpoch: held.ownerEpoch + step))
        }
        return grants.isEmpty ? [] : [.reclaim(grants.sorted { $0.partition < $1.partition })]
    }

    /// When the next partition is reclaimed. Nil if there is none.
    var due: ContinuousClock.Instant? { self.reclaims.values.map(\.due).min() }

    /// Whether the log has refused one of these partitions because of a newer owner epoch.
    func isFenced(_ partitions: [Grant]) -> Bool { partitions.contains { self.reclaims[$0.partition]?.isFenced ?? false } }

    // MARK: -

    /// The grants that this node serves, in the order of partitions.
    var serving: [Grant] {
        self.partitions.filter { $0.value.state == .serving }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }
            .sorted { $0.partition < $1.partition }
    }

    mutating func releaseAll() -> [Effect] {
        guard !self.partitions.isEmpty else { return [] }
        let all = self.partitions.sorted { $0.key < $1.key }.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch) }
        self.partitions = [:]
        self.reclaims = [:]
        return [.release(all)]
    }
}
