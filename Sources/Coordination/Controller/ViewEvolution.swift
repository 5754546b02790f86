import Partitioning

/// The next view out of the present one and all that the controller knows. Pure; the one place where nodes change state and partitions change hands.
struct ViewEvolution {
    var view: ClusterView
    private(set) var guards: Leader.Guards
    /// When something here changes by itself.
    private(set) var wakes: [ContinuousClock.Instant] = []
    /// Why it is to be as it will be.
    var reasons = ViewReasons()
    /// Those for whom the view has no room.
    var refused: [String] = []
    private let current: ClusterView
    let configuration: ClusterConfiguration
    let leader: Leader
    let ownID: String
    private let links: [String: LinkReach]
    let settings: ClusterSettings
    let now: ContinuousClock.Instant

    init(
        current: ClusterView, configuration: ClusterConfiguration, leader: Leader, ownID: String, links: [String: LinkReach], settings: ClusterSettings,
        now: ContinuousClock.Instant
    ) {
        self.view = current
        self.current = current
        self.configuration = configuration
        self.leader = leader
        self.guards = leader.guards
        self.ownID = ownID
        self.links = links
        self.settings = settings
        self.now = now
    }

    /// Something that a reader of the view would see.
    var hasChanged: Bool {
        self.view.nodes != self.current.nodes || self.view.partitions != self.current.partitions || self.view.mode != self.current.mode
    }

    mutating func run() {
        self.updateNodes()
        self.finishMoves()
        self.updateMode()
        let input = self.planInput
        self.view.apply(Plan(input))
        for (partition, entry) in self.current.partitions.enumerated() where entry.owner == nil && self.view.partitions[partition].owner != nil {
            self.reasons.homes[partition] = input.homes[partition]
        }
        self.markDrained()
    }

    /// Every partition under an owner epoch that has never been granted, with its owner unchanged.
    mutating func regrantAll() {
        for partition in self.view.partitions.indices { self.view.partitions[partition].ownerEpoch += 1 }
    }

    /// Whatever any view has granted is granted again under an owner epoch beyond it, where this view says otherwise. What is granted now is beyond what was
    /// reserved before this process started, because views of that time may be lost everywhere.
    mutating func rise(above floor: ViewFloor, reserved: Int64) {
        for (index, entry) in self.view.partitions.enumerated() {
            var least = floor.ownerEpoch(index, entry)
            if max(least, entry.ownerEpoch) > self.current.partitions[index].ownerEpoch { least = max(least, reserved + 1) }
            if least > entry.ownerEpoch { self.view.partitions[index].ownerEpoch = least }
        }
    }

    // MARK: - Nodes

    private mutating func updateNodes() {
        let ids = Set(self.view.nodes.map(\.id)).union(self.leader.members.keys).union(self.leader.nodes.keys).sorted()
        // Those that are gone first: whoever came in their place may need their room.
        for id in ids where self.leader.members[id] == nil { self.miss(id, self.leader.nodes[id]?.record) }
        self.forgetDown(beyond: Self.downMax)
        for id in ids { if let member = self.leader.members[id] { self.update(id, member, self.leader.nodes[id]?.record) } }
    }

    private mutating func update(_ id: String, _ member: Leader.Member, _ record: NodeRecord?) {
        let before = self.view.node(id)
        guard before != nil || self.makeRoom() else { return self.refused.append(id) }
        let isNew = before?.incarnation != member.incarnation
        if isNew {
            if let before, before.incarnation != nil {
                self.lose(before, isMember: true)
                self.guards.returning[member.incarnation] = self.now
            }
            self.guards.massFailure.rejoined(id, at: self.now)
        }
        var node = before ?? ClusterView.Node(id: id, state: .joining)
        node.incarnation = member.incarnation
        node.link = member.record.link
        node.api = member.record.api
        node.zone = member.record.zone
        node.weight = member.record.weight
        node.version = member.record.version
        node.desired = record?.brief
        let state = self.state(of: id, member, from: isNew ? .joining : node.state, desired: record?.desired ?? .active)
        if state != node.state { node.state = state }
        if isNew || before?.state != state { self.reasons.nodes[id] = self.reason(for: state, id, member, record, before) }
        if state != .joining { self.guards.returning[member.incarnation] = nil }
        if state != .cordoned { self.guards.lifted[id] = nil }
        self.view.upsert(node)
        if state == .fenced {
            self.orphan(id)
        } else if isNew || before.map({ !$0.state.mayOwn }) ?? true, state.mayOwn {
            self.guards.massFailure.returned(id, at: self.now)
        }
    }

    private mutating func state(of id: String, _ member: Leader.Member, from state: NodeState, desired: NodeRecord.Desired) -> NodeState {
        if self.isFenced(id, member) { return .fenced }
        // A node is given nothing before the controller can talk to it.
        if state == .joining || state == .down || state == .fenced, !self.isReached(id, member) { return .joining }
        switch desired {
        case .active: return self.guards.flaps.isCordoned(id, at: self.now) ? .cordoned : .active
        case .cordoned, .removed: return .cordoned
        case .draining: return state == .drained ? .drained : .draining
        }
    }

    /// By the controller, which has heard of it, too, and by half of those that would send it events, the controller among them.
    private func isReached(_ id: String, _ member: Leader.Member) -> Bool {
        if id == self.ownID { return true }
        guard let reach = self.links[id], reach.isUp, reach.incarnation == member.incarnation else { return false }
        guard self.leader.freshReport(of: id, at: self.now)?.incarnation == member.incarnation else { return false }
        let others = self.view.nodes.filter { $0.id != id && $0.id != self.ownID && $0.incarnation != nil && $0.state.mayOwn }
        let seeing = others.count {
            self.leader.freshReport(of: $0.id, at: self.now)?.reached.contains(.init(id: id, incarnation: member.incarnation)) ?? false
        }
        return (1 + seeing) * 2 >= 1 + others.count
    }

    /// Not a member now.
    private mutating func miss(_ id: String, _ record: NodeRecord?) {
        let isRemoved = record?.desired == .removed
        guard var node = self.view.node(id) else {
            guard let record, !isRemoved else { return }
            guard self.makeRoom() else { return self.refused.append(id) }
            var node = ClusterView.Node(id: id, state: .down)
            node.desired = record.brief
            self.view.upsert(node)
            self.reasons.nodes[id] = record.request
            return
        }
        node.desired = record?.brief
        if let incarnation = node.incarnation {
            self.lose(node, isMember: false)
            self.reasons.nodes[id] =
                self.guards.leaving.contains(incarnation)
                ? "it left" : self.guards.evicting.contains(incarnation) ? "it refuses connections" : "its session is over"
            node.incarnation = nil
        } else {
            self.orphan(id)
        }
        if node.state != .down { node.state = .down }
        self.view.upsert(node)
        if isRemoved {
            self.view.nodes.removeAll { $0.id == id }
            self.reasons.nodes[id] = record?.request
        }
    }

    /// An incarnation is gone that may have owned. If the node is a member under another incarnation, no node is missing: a ZooKeeper outage does that to
    /// every node together.
    private mutating func lose(_ node: ClusterView.Node, isMember: Bool) {
        defer { self.orphan(node.id) }
        guard let incarnation = node.incarnation, self.guards.counted.updateValue(incarnation, forKey: node.id) != incarnation else { return }
        // What was to be expected is no failure, and no reason to wait for it.
        guard node.state != .drained, !self.guards.leaving.contains(incarnation) else { return }
        if !isMember {
            // A node that joins again will own in a moment.
            let remaining = self.view.nodes.count { $0.id != node.id && ($0.state.mayOwn || $0.state == .joining) && self.leader.members[$0.id] != nil }
            self.guards.massFailure.vanished(node.id, remaining: remaining, at: self.now)
        }
        self.guards.flaps.lost(node.id, of: self.view.nodes.count { $0.incarnation != nil || $0.id == node.id }, at: self.now)
    }

    private mutating func orphan(_ id: String) {
        let orphans = self.view.orphan(ownedBy: id)
        if !orphans.isEmpty { self.guards.homes.lost(orphans, by: id, at: self.now) }
    }

    /// Whether the others have lost sight of it for long enough. It has a session, and so it will see that it is fenced.
    private mutating func isFenced(_ id: String, _ member: Leader.Member) -> Bool {
        guard id != self.ownID else { return false }
        if let since = self.guards.fenced[member.incarnation] {
            guard !self.isUnreachable(id, member) else {
                self.guards.fenced[member.incarnation] = self.now
                return true
            }
            let due = since.advanced(by: self.settings.fencedMin)
            if self.now < due {
                self.wakes.append(due)
                return true
            }
            self.guards.fenced[member.incarnation] = nil
            return false
        }
        // One that joins has nothing that others would have to be given.
        guard let node = self.view.node(id), node.incarnation == member.incarnation, node.state.mayOwn, self.isUnreachable(id, member) else { return false }
        // One at a time: many at once are the network, or this controller.
        if let last = self.guards.lastFence, self.now < last.advanced(by: self.settings.fenceInterval) {
            self.wakes.append(last.advanced(by: self.settings.fenceInterval))
            return false
        }
        self.guards.lastFence = self.now
        self.guards.fenced[member.incarnation] = self.now
        return true
    }

    /// The controller and more than half of the others have had no link to it for a while.
    private mutating func isUnreachable(_ id: String, _ member: Leader.Member) -> Bool {
        guard let reach = self.links[id], reach.incarnation == member.incarnation, !reach.isUp else { return false }
        let due = reach.since.advanced(by: self.settings.unreachableMin)
        guard self.now >= due else {
            self.wakes.append(due)
            return false
        }
        // Of those that may report, not of those that have reported already: the first reports after an election may all be of the few.
        return self.blind(to: id, member).count * 2 > self.witnesses(of: id).count
    }

    /// The other members, without the controller, that the cluster has taken or that report. One that only joins may be the one that no other node can reach.
    private func witnesses(of id: String) -> [String] {
        self.leader.members.keys.filter { other in
            guard other != id, other != self.ownID else { return false }
            return self.view.node(other).map { $0.state.mayOwn || $0.state == .drained } ?? false || self.leader.freshReport(of: other, at: self.now) != nil
        }
    }

    /// Those of them that have lately said that they cannot reach it.
    func blind(to id: String, _ member: Leader.Member) -> [String] {
        self.witnesses(of: id).filter { other in
            self.leader.freshReport(of: other, at: self.now)?.unreachable.contains(.init(id: id, incarnation: member.incarnation)) ?? false
        }
    }

    // MARK: - Partitions

    /// Moves whose source has finished are completed. One that was given up meanwhile is granted to its owner again, who has stopped serving it.
    private mutating func finishMoves() {
        for (id, received) in self.leader.reports {
            guard self.view.node(id)?.incarnation == received.report.incarnation else { continue }
            for sealed in received.report.sealed {
                guard self.view.partitions.indices.contains(sealed.partition) else { continue }
                let entry = self.view.partitions[sealed.partition]
                guard entry.owner == id, entry.ownerEpoch == sealed.ownerEpoch else { continue }
                self.endMove(of: sealed.partition, owner: id)
            }
        }
        self.forceMoves()
    }

    private mutating func endMove(of partition: Int, owner: String) {
        if let move = self.view.partitions[partition].move, let target = self.view.node(move.to), target.state == .active {
            self.view.finishMove(of: partition)
        } else {
            self.view.grant(partition, to: owner)
        }
    }

    /// A source that says nothing may have finished long ago, and then nobody serves what it gave up. If it has not, its owner epoch is fenced, as a dead one's.
    private mutating func forceMoves() {
        for (partition, entry) in self.view.partitions.enumerated() where entry.move != nil {
            guard let owner = entry.owner, owner != self.ownID else { continue }
            let due = self.silentFrom(owner)
            if self.now >= due { self.endMove(of: partition, owner: owner) } else { self.wakes.append(due) }
        }
    }

    /// From when on nobody counts on hearing of a node. A controller that was just elected has heard of none, and that is not their fault.
    private func silentFrom(_ id: String) -> ContinuousClock.Instant {
        (self.leader.reports[id]?.at ?? self.leader.electedAt).advanced(by: ClusterStatus.reportAgeMax)
    }

    private var silent: Set<String> { Set(self.view.nodes.map(\.id).filter { $0 != self.ownID && self.now >= self.silentFrom($0) }) }

    private mutating func updateMode() {
        let mode: ClusterView.Mode =
            self.guards.massFailure.isGuarded(at: self.now) ? .guarded : self.configuration.rebalance == .paused ? .maintenance : .normal
        if mode != self.view.mode {
            self.reasons.mode = self.reason(for: mode)
            self.view.mode = mode
        }
        if let due = self.guards.massFailure.due { self.wakes.append(due) }
        if let due = self.guards.debounce.due { self.wakes.append(due) }
        for since in self.guards.returning.values { self.wakes.append(since.advanced(by: self.settings.returningMax)) }
    }

    /// Nodes that were restarted and are a link away from being active: what they had is not worth two moves.
    private var returning: [String] {
        self.leader.members.filter { _, member in
            self.guards.returning[member.incarnation].map { self.now < $0.advanced(by: self.settings.returningMax) } ?? false
        }.map(\.key)
    }

    var planInput: PlanInput {
        let members = self.view.nodes.filter { $0.incarnation != nil }
        let isCalm = !members.contains { $0.state == .joining || $0.state == .fenced } && Set(members.map(\.version)).count <= 1
        let held = self.guards.massFailure.held(at: self.now).union(self.returning)
        return PlanInput(
            view: self.view, pins: self.configuration.pins, homes: self.guards.homes.homes(at: self.now), held: held,
            silent: self.silent, balances: isCalm && self.guards.debounce.isSettled(at: self.now))
    }

    private mutating func markDrained() {
        for var node in self.view.nodes where node.state == .draining {
            let isEmpty = !self.view.partitions.contains { $0.owner == node.id || $0.move?.to == node.id }
            guard isEmpty else { continue }
            node.state = .drained
            self.reasons.nodes[node.id] = "it owns nothing any more"
            self.view.upsert(node)
        }
    }
}
