import JSON

/// The cluster as one node sees it, with its judgement: what `status`, `members` and `partitions` show.
struct ClusterStatus {
    enum Health: Int, Comparable {
        case healthy, degraded, critical

        var name: String {
            switch self {
            case .healthy: "healthy"
            case .degraded: "degraded"
            case .critical: "critical"
            }
        }

        static func < (left: Health, right: Health) -> Bool { left.rawValue < right.rawValue }
    }

    enum PartitionState: String, CaseIterable {
        /// Its owner says that it serves it, under the view's owner epoch.
        case served
        /// Granted, and its owner has not said yet that it serves.
        case preparing
        /// Being handed over.
        case moving
        /// Nobody's.
        case orphan
        /// Nothing was heard of its owner for a while.
        case unknown
    }

    private let view: ClusterView
    private let configuration: ClusterConfiguration
    private let ownID: String
    private let controller: ControllerRecord?
    private let isAuthoritative: Bool
    private let session: ZooKeeperState
    private let alarm: String?
    private let desired: [String: NodeRecord]
    private let started: [String: Int64]
    private var reports: [String: Leader.Received] = [:]
    private let now: ContinuousClock.Instant
    private let wallClock: Int64
    private(set) var states: [PartitionState] = []
    /// Partitions that more than one node says it serves under the view's owner epoch.
    private(set) var contested: [Int] = []

    /// A report older than this says nothing about now.
    private static let reportAgeMax = Duration.seconds(5)

    init(_ machine: ClusterMachine, _ view: ClusterView, _ configuration: ClusterConfiguration, at now: ContinuousClock.Instant) {
        self.view = view
        self.configuration = configuration
        self.ownID = machine.settings.id
        self.controller = machine.controller
        self.isAuthoritative = machine.isController
        self.session = machine.session
        self.alarm = machine.alarm
        self.desired = machine.leader?.nodes.mapValues(\.record) ?? [:]
        self.started = machine.leader?.members.mapValues(\.record.startedAt) ?? [:]
        self.now = now
        self.wallClock = machine.settings.wallClock()
        self.reports = machine.leader?.reports ?? [:]
        // Its own is never out of date.
        if let incarnation = machine.incarnation {
            self.reports[self.ownID] = Leader.Received(report: machine.report(at: now, incarnation: incarnation), at: now)
        }
        self.judgePartitions()
    }

    private mutating func judgePartitions() {
        var servers: [Int: [String]] = [:]
        for (id, received) in self.reports where self.isFresh(received) && self.view.node(id)?.incarnation == received.report.incarnation {
            for owned in received.report.serving
            where self.view.partitions.indices.contains(owned.partition) && self.view.partitions[owned.partition].ownerEpoch == owned.ownerEpoch {
                servers[owned.partition, default: []].append(id)
            }
        }
        self.states = self.view.partitions.enumerated().map { index, entry in
            guard let owner = entry.owner else { return .orphan }
            if entry.move != nil { return .moving }
            if servers[index]?.contains(owner) ?? false { return .served }
            return self.reports[owner].map { self.isFresh($0) } ?? false ? .preparing : .unknown
        }
        self.contested = servers.filter { $0.value.count > 1 }.keys.sorted()
    }

    private func isFresh(_ received: Leader.Received) -> Bool { self.now < received.at.advanced(by: Self.reportAgeMax) }

    private func count(_ state: PartitionState) -> Int { self.states.count { $0 == state } }

    // MARK: - Judgement

    private var judgement: (Health, [String]) {
        var health = Health.healthy
        var reasons: [String] = []
        func tell(_ level: Health, _ text: String) {
            health = max(health, level)
            reasons.append(text)
        }
        if !self.contested.isEmpty {
            tell(
                .critical,
                "\(self.contested.count) partitions are served by two nodes under one owner epoch (\(self.contested.prefix(5).map(String.init).joined(separator: ", "))): stop one of them and report this."
            )
        }
        if self.controller == nil {
            tell(.critical, "There is no controller: nothing is reassigned until a node is elected. Look at ZooKeeper, and at the nodes' logs.")
        }
        let orphans = self.count(.orphan)
        if orphans > 0 {
            tell(
                .critical,
                self.view.mode == .guarded
                    ? "\(orphans) partitions wait for nodes that vanished together; they are given to others when guarded mode ends."
                    : "\(orphans) partitions have no owner: start a node, or look at why none may own (members).")
        }
        switch self.session.phase {
        case .connected: break
        case .connecting, .suspended, .lost, .closing, .closed:
            tell(.degraded, "\(self.ownID) has no connection to ZooKeeper: owners go on serving, and nothing is reassigned.")
        }
        for node in self.view.nodes { self.judge(node, tell) }
        if self.view.mode == .maintenance { tell(.degraded, "Rebalancing is paused (realertime rebalance resume).") }
        let unheard = self.isAuthoritative ? self.count(.unknown) : 0
        if unheard > 0 { tell(.degraded, "Nothing was heard of the owners of \(unheard) partitions for 5 seconds.") }
        if let alarm = self.alarm { tell(.degraded, "Alarm at \(self.ownID): \(alarm)") }
        if !self.isAuthoritative { tell(.degraded, "This is what \(self.ownID) knows; the controller cannot be asked.") }
        return (health, reasons)
    }

    private func judge(_ node: ClusterView.Node, _ tell: (Health, String) -> Void) {
        switch node.state {
        case .down where self.desired[node.id]?.desired != .draining:
            tell(.degraded, "\(node.id) is down: start it, or forget it (realertime forget \(node.id)).")
        case .cordoned where self.isAuthoritative && ![.cordoned, .removed].contains(self.desired[node.id]?.desired ?? .active):
            tell(.degraded, "\(node.id) is cordoned for a while, because it kept losing its session (realertime uncordon \(node.id) lifts that).")
        case .fenced: tell(.degraded, "\(node.id) is fenced: most nodes cannot reach it at \(node.link).")
        case .joining: tell(.degraded, "\(node.id) joins: it owns nothing before the controller has a link to \(node.link).")
        case .down, .active, .cordoned, .draining, .drained: break
        }
        guard node.incarnation != nil, let received = self.reports[node.id], node.id != self.ownID || self.isAuthoritative else { return }
        if !self.isFresh(received) { tell(.degraded, "\(node.id) has not reported for 5 seconds.") }
        for peer in received.report.unreachable where self.view.node(peer.id)?.incarnation == peer.incarnation {
            tell(.degraded, "\(node.id) cannot reach \(peer.id).")
        }
        if let alarm = received.report.alarm, node.id != self.ownID { tell(.degraded, "Alarm at \(node.id): \(alarm)") }
        for reason in received.report.figures.reasons {
            tell(received.report.figures.health == "critical" ? .critical : .degraded, "\(node.id): \(reason)")
        }
    }

    // MARK: - As JSON

    /// The fields that every answer begins with: who says so.
    func writeHead(to writer: inout JSONWriter) {
        writer.field("cluster", self.configuration.clusterID)
        writer.field("through", self.ownID)
        writer.name("authoritative")
        writer.raw(self.isAuthoritative ? "true" : "false")
        writer.name("controller")
        if let controller = self.controller {
            writer.object { writer in
                writer.field("id", controller.id)
                writer.field("incarnation", controller.incarnation)
                writer.field("epoch", controller.epoch)
                if let api = controller.api { writer.field("api", api) }
            }
        } else {
            writer.null()
        }
        writer.field("mode", self.view.mode.rawValue)
        writer.field("view_version", self.view.version)
        writer.field("view_age_seconds", max(0, (self.wallClock - self.view.writtenAt) / 1000))
    }

    func writeStatus(to writer: inout JSONWriter) {
        let (health, reasons) = self.judgement
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("zookeeper")
            writer.object { writer in
                writer.field("state", self.session.phase.name)
                if case .connected(let session, let timeout) = self.session.phase {
                    writer.field("session", "0x" + String(UInt64(bitPattern: session), radix: 16))
                    writer.field("timeout_ms", timeout.wholeMilliseconds)
                }
            }
            writer.name("nodes")
            writer.object { writer in
                for state in NodeState.allCases { writer.field(state.rawValue, self.view.nodes.count { $0.state == state }) }
            }
            writer.name("partitions")
            writer.object { writer in
                writer.field("total", self.view.partitions.count)
                for state in PartitionState.allCases { writer.field(state.rawValue, self.count(state)) }
                writer.field("contested", self.contested.count)
            }
            let owned = self.view.nodes.filter { $0.state == .active && $0.weight > 0 }.map { Double(self.view.partitions(ownedBy: $0.id).count) / $0.weight }
            let mean = owned.isEmpty ? 0 : owned.reduce(0, +) / Double(owned.count)
            writer.field("spread", mean > 0 ? (owned.max()! / mean * 1000).rounded() / 1000 : 1)
            let fresh = self.reports.values.filter { self.isFresh($0) }.map(\.report.figures)
            writer.field("connections", fresh.reduce(0) { $0 + $1.connections })
            writer.field("published_per_second", fresh.reduce(0) { $0 + $1.publishedPerSecond })
            writer.field("delivered_per_second", fresh.reduce(0) { $0 + $1.deliveredPerSecond })
            writer.field("health", health.name)
            writer.name("reasons")
            writer.array { writer in for reason in reasons { writer.string(reason) } }
        }
    }

    func writeMembers(to writer: inout JSONWriter) {
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("members")
            writer.array { writer in for node in self.view.nodes { self.write(node, to: &writer) } }
        }
    }

    private func write(_ node: ClusterView.Node, to writer: inout JSONWriter) {
        let owned = self.view.partitions(ownedBy: node.id).count
        writer.object { writer in
            writer.field("id", node.id)
            writer.field("state", node.state.rawValue)
            if let record = self.desired[node.id] {
                writer.field("desired", record.desired.rawValue)
                writer.field("by", record.by)
                writer.field("note", record.note)
            }
            writer.field("zone", node.zone)
            writer.field("link", node.link)
            writer.field("api", node.api)
            if let incarnation = node.incarnation { writer.field("incarnation", incarnation) }
            writer.field("version", node.version)
            writer.field("weight", node.weight)
            writer.field("owned", owned)
            writer.field("share", Double(owned) / Double(max(1, self.view.partitions.count)))
            writer.field("moving_in", self.view.partitions.count { $0.move?.to == node.id })
            writer.field("moving_out", self.view.partitions.count { $0.owner == node.id && $0.move != nil })
            if let startedAt = self.started[node.id] { writer.field("uptime_seconds", max(0, (self.wallClock - startedAt) / 1000)) }
            guard let received = self.reports[node.id], node.incarnation == received.report.incarnation else { return }
            let report = received.report
            writer.field("serving", report.serving.count)
            writer.field("connections", report.figures.connections)
            writer.field("published_per_second", report.figures.publishedPerSecond)
            writer.field("delivered_per_second", report.figures.deliveredPerSecond)
            writer.field("node_view_version", report.viewVersion)
            writer.field("report_age_ms", (self.now - received.at).wholeMilliseconds)
            writer.field("health", report.figures.health)
            if let alarm = report.alarm { writer.field("alarm", alarm) }
            let peers = self.view.nodes.filter { $0.id != node.id && $0.incarnation != nil }
            let seen = Set(report.reached.map(\.id))
            writer.field("peers", peers.count)
            writer.field("sees", peers.count { seen.contains($0.id) })
            writer.name("does_not_see")
            writer.array { writer in for peer in peers where !seen.contains(peer.id) { writer.string(peer.id) } }
        }
    }

    func writePartitions(_ range: Range<Int>, to writer: inout JSONWriter) {
        let contested = Set(self.contested)
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("partitions")
            writer.array { writer in
                for partition in range {
                    let entry = self.view.partitions[partition]
                    writer.object { writer in
                        writer.field("partition", partition)
                        if let owner = entry.owner { writer.field("owner", owner) }
                        writer.field("owner_epoch", entry.ownerEpoch)
                        writer.field("state", self.states[partition].rawValue)
                        if let move = entry.move {
                            writer.field("moving_to", move.to)
                            writer.field("reason", move.reason.rawValue)
                        }
                        if contested.contains(partition) {
                            writer.name("contested")
                            writer.raw("true")
                        }
                        if let pin = self.configuration.pins[partition] { writer.field("pinned_to", pin) }
                        if let owner = entry.owner, let api = self.view.node(owner)?.api { writer.field("api", api) }
                    }
                }
            }
        }
    }
}

extension ZooKeeperState.Phase {
    var name: String {
        switch self {
        case .connecting: "connecting"
        case .connected: "connected"
        case .suspended: "suspended"
        case .lost: "lost"
        case .closing: "closing"
        case .closed: "closed"
        }
    }
}

extension Duration {
    var wholeMilliseconds: Int64 { self.components.seconds * 1000 + self.components.attoseconds / 1_000_000_000_000_000 }
}
