import AdminAPI
import Partitioning

/// The status of the cluster in the types of the admin API.
extension ClusterStatus {
    /// The fields that begin every response: which node responds, and which view it uses.
    var head: ClusterHead {
        ClusterHead(
            cluster: self.configuration.clusterID, through: self.ownID, authoritative: self.isAuthoritative,
            controller: self.controller, coordination: self.coordination, mode: self.view.mode.rawValue, viewVersion: Int(self.view.version),
            viewAgeSeconds: Int(max(0, (self.wallClock - self.view.writtenAt) / 1000)))
    }

    var overview: ClusterOverview {
        let (health, reasons) = self.judgement
        let fresh = self.reports.values.filter { self.isFresh($0) }.map(\.report.metrics)
        return ClusterOverview(
            head: self.head, zookeeper: self.zookeeper,
            nodes: NodeState.allCases.map { state in .init(state: state.rawValue, count: self.view.nodes.count { $0.state == state }) },
            partitions: self.partitionCounts, spread: self.spread, connections: fresh.reduce(0) { $0 + $1.connections },
            publishedPerSecond: fresh.reduce(0) { $0 + $1.publishedPerSecond }, deliveredPerSecond: fresh.reduce(0) { $0 + $1.deliveredPerSecond },
            health: health, reasons: reasons, notices: self.notices)
    }

    private var zookeeper: ClusterOverview.ZooKeeper? {
        guard let phase = self.session?.phase else { return nil }
        guard case .connected(let session, let timeout) = phase else { return .init(node: self.ownID, state: phase.name) }
        return .init(
            node: self.ownID, state: phase.name, session: "0x" + String(UInt64(bitPattern: session), radix: 16),
            timeoutMilliseconds: Int(timeout.wholeMilliseconds))
    }

    private var partitionCounts: ClusterOverview.Partitions {
        var counts = ClusterOverview.Partitions()
        counts.total = self.view.partitions.count
        counts.served = self.count(.served)
        counts.preparing = self.count(.preparing)
        counts.moving = self.count(.moving)
        counts.orphan = self.count(.orphan)
        counts.unknown = self.count(.unknown)
        counts.contested = self.contested.count
        counts.unserved = self.unserved.count
        return counts
    }

    /// The greatest load of an active node divided by the mean.
    private var spread: Double {
        let owned = self.view.nodes.filter { $0.state == .active && $0.weight > 0 }.map { Double(self.view.partitions(ownedBy: $0.id).count) / $0.weight }
        let mean = owned.isEmpty ? 0 : owned.reduce(0, +) / Double(owned.count)
        return mean > 0 ? (owned.max()! / mean * 1000).rounded() / 1000 : 1
    }

    // MARK: - Members

    /// The limit of names in one list of a response.
    private static let namesMax = 20

    var members: ClusterMembers {
        let sightings = self.sightings()
        return ClusterMembers(head: self.head, members: self.view.nodes.map { self.member($0, sightings[$0.id] ?? Sighting()) })
    }

    private func member(_ node: ClusterView.Node, _ sighting: Sighting) -> ClusterMembers.Member {
        let owned = self.view.partitions(ownedBy: node.id).count
        return ClusterMembers.Member(
            id: node.id, state: node.state.rawValue, presence: sighting.presence, witnesses: sighting.witnesses,
            seenBy: sighting.witnesses - sighting.unseenBy.count, notSeenBy: Array(sighting.unseenBy.prefix(Self.namesMax)),
            desired: self.desired[node.id].map { .init(state: $0.desired.rawValue, by: $0.by, note: $0.note) }, zone: node.zone, link: node.link,
            api: node.api, incarnation: node.incarnation.map { Int($0) }, version: node.version, weight: node.weight, owned: owned,
            share: Double(owned) / Double(max(1, self.view.partitions.count)), movingIn: self.view.partitions.count { $0.move?.to == node.id },
            movingOut: self.view.partitions.count { $0.owner == node.id && $0.move != nil }, report: self.report(of: node))
    }

    private func report(of node: ClusterView.Node) -> ClusterMembers.Report? {
        // Without a session this node has no incarnation and sends no report. Its own report is shown anyway.
        let own = node.id == self.ownID ? KnownNodes.Received(report: self.ownReport, at: self.now) : nil
        guard let received = own ?? self.reports[node.id], node.incarnation == received.report.incarnation else { return nil }
        let report = received.report
        let peers = self.view.nodes.filter { $0.id != node.id && $0.incarnation != nil }
        let seen = Set(report.reached.map(\.id))
        return ClusterMembers.Report(
            uptimeSeconds: report.metrics.uptimeSeconds.map { Int($0) }, session: self.session == nil ? nil : report.session, serving: report.serving.count,
            connections: report.metrics.connections, publishedPerSecond: report.metrics.publishedPerSecond,
            deliveredPerSecond: report.metrics.deliveredPerSecond, viewVersion: Int(report.viewVersion),
            ageMilliseconds: Int((self.now - received.at).wholeMilliseconds), health: report.metrics.health, alarm: report.alarm, peers: peers.count,
            sees: peers.count { seen.contains($0.id) }, doesNotSee: peers.map(\.id).filter { !seen.contains($0) })
    }

    // MARK: - Partitions

    var partitions: ClusterPartitions { ClusterPartitions(head: self.head, partitions: self.view.partitions.indices.map(self.partition)) }

    /// The partition of one channel.
    func location(of partition: Int, channel: String?) -> ClusterPartitions {
        ClusterPartitions(head: self.head, channel: channel, partitions: [self.partition(partition)])
    }

    private func partition(_ partition: Int) -> ClusterPartitions.Partition {
        let entry = self.view.partitions[partition]
        return ClusterPartitions.Partition(
            partition: partition, owner: entry.owner, ownerEpoch: Int(entry.ownerEpoch), state: self.states[partition], movingTo: entry.move?.to,
            reason: entry.move?.reason.rawValue, isContested: self.contested.contains(partition), pinnedTo: self.configuration.pins[partition],
            api: entry.owner.flatMap { self.view.node($0)?.api })
    }

    // MARK: - Plan

    /// The plan of a rebalance as if balancing were neither paused nor waiting for more joins.
    /// `waiting` counts the moves that do not start now for these reasons.
    func plan(_ input: PlanInput) -> ClusterPlan {
        var free = input
        free.balances = true
        if free.view.mode == .maintenance { free.view.mode = .normal }
        let plan = Plan.complete(free)
        let isHeld = !input.balances || input.view.mode != free.view.mode
        var pairs: [String: ClusterPlan.Pair] = [:]
        func count(_ from: String, _ to: String, _ reason: String) {
            pairs["\(from)\u{0}\(to)\u{0}\(reason)", default: .init(from: from, to: to, reason: reason, count: 0)].count += 1
        }
        for grant in plan.grants { count(grant.from ?? "nobody", grant.to, "orphan") }
        for move in plan.moves { count(move.from, move.to, move.reason.rawValue) }
        var response = ClusterPlan(head: self.head)
        response.moves = plan.moves.count
        response.grants = plan.grants.count
        response.lowerBound = plan.first.bound.total
        response.waiting = isHeld ? Plan.complete(input).remaining : plan.remaining
        response.rounds = plan.rounds
        response.spreadBefore = plan.first.spreadBefore
        response.spreadAfter = plan.spread
        response.settled = input.balances
        response.pairs = pairs.sorted { $0.key < $1.key }.map(\.value)
        response.refusals = plan.first.refusals.map(\.description)
        return response
    }
}
