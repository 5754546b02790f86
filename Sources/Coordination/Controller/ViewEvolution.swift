import Partitioning

/// Computes the next view from the present view and the controller's knowledge. A pure value. Nodes change state, and partitions change owners, only here.
struct ViewEvolution {
    var view: ClusterView
    private(set) var guards: ControllerGuards
    /// Times at which the result may change although no event arrives.
    private(set) var wakes: [ContinuousClock.Instant] = []
    /// The reasons for the changes.
    var reasons = ViewReasons()
    /// Nodes that do not fit into the view.
    private(set) var refused: [String] = []
    /// Alarms for the operator.
    private(set) var alarms: [String] = []
    private let current: ClusterView
    let configuration: ClusterConfiguration
    let known: KnownNodes
    let ownID: String
    private let links: [String: LinkReach]
    let settings: ClusterSettings
    let now: ContinuousClock.Instant

    init(
        current: ClusterView, configuration: ClusterConfiguration, known: KnownNodes, guards: ControllerGuards, ownID: String, links: [String: LinkReach],
        settings: ClusterSettings,
        now: ContinuousClock.Instant
    ) {
        self.view = current
        self.current = current
        self.configuration = configuration
        self.known = known
        self.guards = guards
        self.ownID = ownID
        self.links = links
        self.settings = settings
        self.now = now
    }

    /// Whether the nodes, the partitions or the mode differ from the present view.
    var hasChanged: Bool {
        self.view.nodes != self.current.nodes || self.view.partitions != self.current.partitions || self.view.mode != self.current.mode
    }

    mutating func run() {
        self.updateNodes()
        if let fullAlarm { self.alarms.append(fullAlarm) }
        self.finishMoves()
        self.updateMode()
        let input = self.planInput
        self.view.apply(Plan(input))
        for (partition, entry) in self.current.partitions.enumerated() where entry.owner == nil && self.view.partitions[partition].owner != nil {
            self.reasons.previousOwners[partition] = input.previousOwners[partition]
        }
        self.markDrained()
    }

    // MARK: - Nodes

    private mutating func updateNodes() {
        let ids = Set(self.view.nodes.map(\.id)).union(self.known.members.keys).union(self.known.entries.keys).sorted()
        // Absent nodes are updated first, because new nodes may need their space in the view.
        for id in ids where self.known.members[id] == nil { self.updateAbsent(id, self.known.entries[id]?.record) }
        self.forgetDown(beyond: Self.downMax)
        for id in ids { if let member = self.known.members[id] { self.update(id, member, self.known.entries[id]?.record) } }
    }

    private mutating func update(_ id: String, _ member: KnownNodes.Member, _ record: NodeRecord?) {
        let before = self.view.node(id)
        guard before != nil || self.makeSpace() else { return self.refused.append(id) }
        let isNew = before?.incarnation != member.incarnation
        if isNew {
            if let before, before.incarnation != nil {
                self.lose(before, isMember: true)
                // The restarted node becomes active as soon as it is linked. Its partitions wait for that, because otherwise they would move twice.
                self.guards.previous.wait(for: id, until: self.now.advanced(by: self.settings.returningMax))
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
        self.view.upsert(node)
        if state == .fenced {
            self.orphan(id)
        } else if isNew || before.map({ !$0.state.mayOwn }) ?? true, state.mayOwn {
            self.guards.massFailure.returned(id, at: self.now)
            self.guards.previous.returned(id)
        }
    }

    private mutating func state(of id: String, _ member: KnownNodes.Member, from state: NodeState, desired: NodeRecord.Desired) -> NodeState {
        if self.isFenced(id, member) { return .fenced }
        // A node gets no partitions before the controller and half of the others reach it.
        if state == .joining || state == .down || state == .fenced, !self.isReached(id, member) { return .joining }
        // A node that stops hands its partitions over first.
        switch self.guards.leaving.contains(member.incarnation) ? .draining : desired {
        case .active: return .active
        case .cordoned, .removed: return .cordoned
        case .draining: return state == .drained ? .drained : .draining
        }
    }

    /// Whether the controller has a link to the node and a report from it, and at least half of the nodes that may own partitions reach it. The controller
    /// counts as one of those nodes.
    private func isReached(_ id: String, _ member: KnownNodes.Member) -> Bool {
        if id == self.ownID { return true }
        guard let reach = self.links[id], reach.isUp, reach.incarnation == member.incarnation else { return false }
        guard self.known.freshReport(of: id, at: self.now)?.incarnation == member.incarnation else { return false }
        let others = self.view.nodes.filter { $0.id != id && $0.id != self.ownID && $0.incarnation != nil && $0.state.mayOwn }
        let reaching = others.count {
            self.known.freshReport(of: $0.id, at: self.now)?.reached.contains(.init(id: id, incarnation: member.incarnation)) ?? false
        }
        return (1 + reaching) * 2 >= 1 + others.count
    }

    /// Updates a node that is not a member now.
    private mutating func updateAbsent(_ id: String, _ record: NodeRecord?) {
        let isRemoved = record?.desired == .removed
        guard var node = self.view.node(id) else {
            guard let record, !isRemoved else { return }
            guard self.makeSpace() else { return self.refused.append(id) }
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
                ? "it left" : self.guards.evicting.contains(incarnation) ? "it refuses connections" : "its session has ended"
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

    /// Handles the end of an incarnation that may have owned partitions. If the node is a member under a new incarnation, it does not count as vanished: after
    /// a ZooKeeper outage every node gets a new incarnation.
    private mutating func lose(_ node: ClusterView.Node, isMember: Bool) {
        defer { self.orphan(node.id) }
        guard let incarnation = node.incarnation, self.guards.counted.updateValue(incarnation, forKey: node.id) != incarnation else { return }
        if !isMember { self.guards.previous.returned(node.id) }
        // The end of a drained or leaving node is expected. It does not count as a failure, and the node's partitions do not wait for its return.
        guard node.state != .drained, !self.guards.leaving.contains(incarnation) else { return }
        if !isMember {
            // Joining nodes count as remaining, because they will own partitions in a moment.
            let remaining = self.view.nodes.count { $0.id != node.id && ($0.state.mayOwn || $0.state == .joining) && self.known.members[$0.id] != nil }
            self.guards.massFailure.vanished(node.id, remaining: remaining, at: self.now)
            if let due = self.guards.massFailure.due { for id in self.guards.massFailure.vanished { self.guards.previous.wait(for: id, until: due) } }
        }
        guard self.guards.flaps.lost(node.id, of: self.view.nodes.count { $0.incarnation != nil || $0.id == node.id }, at: self.now) else { return }
        self.alarms.append(
            "\(node.id) restarted or lost its session \(FlapGuard.lossesMax) times within \(FlapGuard.window.components.seconds) seconds, and its partitions "
                + "move each time. Look at its log; after realertime cordon \(node.id) it gains no partitions")
    }

    private mutating func orphan(_ id: String) {
        let orphans = self.view.orphan(ownedBy: id)
        if !orphans.isEmpty { self.guards.previous.lost(orphans, by: id, at: self.now) }
    }

    /// Whether the node is fenced because most members do not reach it, or did not until recently. The node still has a session, so it learns from the view
    /// that it is fenced.
    private mutating func isFenced(_ id: String, _ member: KnownNodes.Member) -> Bool {
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
        // A joining node has no partitions to reassign.
        guard let node = self.view.node(id), node.incarnation == member.incarnation, node.state.mayOwn, self.isUnreachable(id, member) else { return false }
        // Only one node is fenced at a time. If many nodes are unreachable together, the cause is the network or this controller.
        if let last = self.guards.lastFence, self.now < last.advanced(by: self.settings.fenceInterval) {
            self.wakes.append(last.advanced(by: self.settings.fenceInterval))
            return false
        }
        self.guards.lastFence = self.now
        self.guards.fenced[member.incarnation] = self.now
        return true
    }

    /// Whether the controller and more than half of the witnesses have had no link to the node for a while.
    private mutating func isUnreachable(_ id: String, _ member: KnownNodes.Member) -> Bool {
        guard let reach = self.links[id], reach.incarnation == member.incarnation, !reach.isUp else { return false }
        let due = reach.since.advanced(by: self.settings.unreachableMin)
        guard self.now >= due else {
            self.wakes.append(due)
            return false
        }
        // Witnesses without a report count as if they reached the node, because the first reports after an election may all come from a minority.
        return self.notReaching(id, member).count * 2 > self.witnesses(of: id).count
    }

    /// The members whose reports about a node count. The node itself and the controller are excluded. A joining or fenced node counts only if it reports,
    /// because it may be unreachable itself.
    private func witnesses(of id: String) -> [String] {
        self.known.members.keys.filter { other in
            guard other != id, other != self.ownID else { return false }
            return self.view.node(other).map { $0.state.mayOwn || $0.state == .drained } ?? false || self.known.freshReport(of: other, at: self.now) != nil
        }
    }

    /// The witnesses whose fresh reports list the node as unreachable.
    func notReaching(_ id: String, _ member: KnownNodes.Member) -> [String] {
        self.witnesses(of: id).filter { other in
            self.known.freshReport(of: other, at: self.now)?.unreachable.contains(.init(id: id, incarnation: member.incarnation)) ?? false
        }
    }

    // MARK: - Partitions

    /// Completes the moves whose source has sealed the partition. The partition of a cancelled move is granted to its owner again, because the owner has
    /// stopped serving it.
    private mutating func finishMoves() {
        for (id, received) in self.known.reports {
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

    /// Completes moves whose source does not report. The source may have sealed the partition already, and then no node serves it. If the source still serves
    /// the partition, the new owner epoch fences the source like a dead owner.
    private mutating func forceMoves() {
        for (partition, entry) in self.view.partitions.enumerated() where entry.move != nil {
            guard let owner = entry.owner, owner != self.ownID else { continue }
            let due = self.silentFrom(owner)
            if self.now >= due { self.endMove(of: partition, owner: owner) } else { self.wakes.append(due) }
        }
    }

    /// The time from which a node counts as silent. For a node without a report, the period begins with the election of this controller.
    private func silentFrom(_ id: String) -> ContinuousClock.Instant {
        (self.known.reports[id]?.at ?? self.known.electedAt).advanced(by: NodeReport.ageMax)
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
        self.wakes += self.guards.previous.dues
    }

    var planInput: PlanInput {
        let members = self.view.nodes.filter { $0.incarnation != nil }
        let isCalm = !members.contains { $0.state == .joining || $0.state == .fenced } && Set(members.map(\.version)).count <= 1
        return PlanInput(
            view: self.view, pins: self.configuration.pins, previousOwners: self.guards.previous.owners(at: self.now),
            awaited: self.guards.previous.awaited(at: self.now),
            silent: self.silent, balances: isCalm && self.guards.debounce.isSettled(at: self.now))
    }

    private mutating func markDrained() {
        for var node in self.view.nodes where node.state == .draining {
            let isEmpty = !self.view.partitions.contains { $0.owner == node.id || $0.move?.to == node.id }
            guard isEmpty else { continue }
            node.state = .drained
            self.reasons.nodes[node.id] = "it owns no partitions any more"
            self.view.upsert(node)
        }
    }
}

// MARK: - The size of the view

/// A view contains a limited number of nodes. A larger view could not be written, and then no partition would get a new owner.
extension ViewEvolution {
    /// The limit of nodes that are down and have no operator's request. Above this limit, the oldest of these nodes are forgotten. In containers the id may
    /// change with each start, and most of these nodes never return.
    static let downMax = 200

    /// Forgets nodes that are down and have no operator's request, in the order of their incarnations. A node that went down under an earlier controller has no
    /// known incarnation, and counts as the oldest.
    mutating func forgetDown(beyond count: Int) {
        let down = self.view.nodes.filter { $0.state == .down && self.known.entries[$0.id] == nil }
        guard down.count > count else { return }
        let sorted = down.map { (incarnation: self.guards.counted[$0.id] ?? 0, id: $0.id) }.sorted { $0 < $1 }
        let forgotten = Set(sorted.prefix(down.count - count).map(\.id))
        self.view.nodes.removeAll { forgotten.contains($0.id) }
        for id in forgotten { self.reasons.nodes[id] = "too many nodes are down" }
    }

    /// Whether one more node fits. If necessary, forgets the oldest node that is down.
    mutating func makeSpace() -> Bool {
        if self.view.nodes.count < ClusterView.nodeCountMax { return true }
        self.forgetDown(beyond: max(0, self.view.nodes.count { $0.state == .down && self.known.entries[$0.id] == nil } - 1))
        return self.view.nodes.count < ClusterView.nodeCountMax
    }

    /// The alarm about nodes that cannot join because the view has the maximum number of nodes.
    private var fullAlarm: String? {
        guard let first = self.refused.first else { return nil }
        return "\(first)\(self.refused.count > 1 ? " and \(self.refused.count - 1) others" : "") cannot join: a cluster has at most "
            + "\(ClusterView.nodeCountMax) nodes, including nodes that are down; realertime forget removes a node that is down"
    }
}

// MARK: - Reasons

extension ViewEvolution {
    /// The reason for a node's change of state. Computed only for a change, because the view is computed far more often than it changes.
    func reason(for state: NodeState, _ id: String, _ member: KnownNodes.Member, _ record: NodeRecord?, _ before: ClusterView.Node?) -> String {
        switch state {
        case .joining:
            if before?.state == .fenced, before?.incarnation == member.incarnation {
                return "the node is no longer fenced, but too few other nodes can reach it so far"
            }
            return before == nil ? "a new member" : before?.incarnation == nil ? "it is a member again" : "it has restarted, or lost its session"
        case .fenced:
            let unable = ([self.ownID] + self.notReaching(id, member).sorted()).prefix(10).joined(separator: ", ")
            return "\(unable) of \(self.known.members.count) members cannot reach it at \(member.record.link)"
        case .active where before?.state == .joining || before?.state == .fenced || before?.incarnation == nil:
            return id == self.ownID ? "it is the controller" : "the controller and half of the others reach it"
        case .draining where self.guards.leaving.contains(member.incarnation):
            return "it stops, and hands its partitions over first"
        case .active, .cordoned, .draining, .drained:
            return record?.request ?? ""
        case .down:
            return ""
        }
    }

    func reason(for mode: ClusterView.Mode) -> String {
        switch mode {
        case .guarded: "\(self.guards.massFailure.vanished.joined(separator: ", ")) vanished within \(MassFailureGuard.window.components.seconds) s"
        case .maintenance: "balancing is paused" + (self.configuration.pauseRequest.map { ", \($0)" } ?? "")
        case .normal where self.view.mode == .maintenance: "balancing is resumed"
        case .normal: self.guards.massFailure.due == nil ? "all nodes that vanished are back" : "the wait for nodes that vanished is over"
        }
    }
}
