import AdminAPI

/// Checks whether the controller's reports are consistent.
struct ClusterChecks: Sendable {
    var overview: ClusterOverview
    var members: ClusterMembers
    var partitions: ClusterPartitions
    var events: ClusterEvents?

    /// Events that are older than this are ignored.
    private static let eventAgeMsMax = 10 * 60 * 1000
    private static let spreadMax = 1.25

    /// Runs the checks. If a check has a finding, all checks run again after a moment, so that a transient state is not reported. The result is empty for a
    /// node outside a cluster.
    static func run(at node: NodeClient) async -> [Check] {
        let cluster = ClusterClient(node: node)
        do {
            let first = try await Self.gather(cluster)
            guard !first.overview.isAlone else { return [] }
            let limits = await ZooKeeperCheck.run(at: node)
            let checks = first.all() + [limits]
            guard checks.contains(where: { $0.outcome > .skip }) else { return checks }
            try await Task.sleep(for: .seconds(2))
            return try await Self.gather(cluster).all() + [limits]
        } catch {
            return [.fail("cluster", "\(error)", do: "Run doctor with the --api of another node, and see the log of this node.")]
        }
    }

    private static func gather(_ cluster: ClusterClient) async throws -> ClusterChecks {
        ClusterChecks(
            overview: try await cluster.fetch(ClusterOverview.self).report, members: try await cluster.fetch(ClusterMembers.self).report,
            partitions: try await cluster.fetch(ClusterPartitions.self).report, events: try? await cluster.fetch(ClusterEvents.self).report)
    }

    func all() -> [Check] {
        [
            self.controller(), self.zookeeper(), self.nodes(), self.servers(), self.views(), self.links(), self.alarms(), self.duplicates(), self.versions(),
            self.balance(),
        ]
    }

    private var living: [ClusterMembers.Member] { self.members.members.filter { $0.incarnation != nil } }

    /// Whether the responding node has no ZooKeeper session. The doctor reports this once, and skips checks that would only fail for the same reason.
    private var isCutOff: Bool { self.overview.zookeeper?.state != "connected" }

    func controller() -> Check {
        let head = self.overview.head
        if self.isCutOff { return .skip("controller", "\(head.controllerText): uncertain without ZooKeeper") }
        guard let controller = head.controller else {
            return .fail(
                "controller", head.coordination.reason ?? "the cluster has no controller",
                do: "If ZooKeeper is healthy, see the nodes' logs for the reason why the nodes elect no controller.")
        }
        guard head.authoritative else {
            return .warn(
                "controller", head.coordination.reason ?? "\(head.through) cannot reach the controller \(controller.id)",
                do: "Check whether \(head.through) can reach the link port of \(controller.id), or run doctor with the --api of another node.")
        }
        return .ok("controller", "\(controller.id), epoch \(controller.epoch)")
    }

    func zookeeper() -> Check {
        guard self.isCutOff else { return .ok("zookeeper", self.overview.sessionText) }
        return .warn(
            "zookeeper", self.overview.head.coordination.reason ?? self.overview.sessionText,
            do: "Repair ZooKeeper, or the network between the node and ZooKeeper. Do not restart the nodes: they reconnect automatically.")
    }

    func nodes() -> Check {
        let missing = self.members.members.filter { ["down", "fenced", "joining"].contains($0.state) && $0.desired?.state != "draining" }
        // Without the controller's report, the presence of the other nodes is unknown.
        let suspects = self.living.filter { [.suspect, .down].contains($0.presence) && !missing.contains($0) }
        guard missing.isEmpty, suspects.isEmpty else {
            let states = missing.map { "\($0.id) is \($0.state)" } + suspects.map { "\($0.id) \($0.presenceText ?? "is \($0.presence.rawValue)")" }
            return .warn(
                "nodes", states.joined(separator: ", "), do: "Start nodes that are down, or remove them with realertime forget. See the logs of suspect nodes.")
        }
        let count = Readable.count(self.living.count, "node")
        guard self.members.head.authoritative else { return .skip("nodes", "the cluster has \(count); only the controller has the nodes' reports") }
        return .ok("nodes", "the cluster has \(count); all send reports")
    }

    /// Checks the nodes' reports: exactly one node must serve each partition, under the view's owner epoch.
    func servers() -> Check {
        func list(_ partitions: [ClusterPartitions.Partition]) -> String {
            partitions.prefix(5).map { String($0.partition) }.joined(separator: ", ") + (partitions.count > 5 ? " and \(partitions.count - 5) more" : "")
        }
        let all = self.partitions.partitions
        let contested = all.filter { $0.isContested }
        guard contested.isEmpty else {
            return .fail(
                "partitions", "two nodes serve \(list(contested)) with the same owner epoch",
                do: "Stop one of the two nodes immediately, and report this as a bug.")
        }
        guard self.overview.head.authoritative else { return .skip("partitions", "only the controller knows which node serves which partition") }
        let orphans = all.filter { $0.state == .orphan }
        guard orphans.isEmpty else {
            return .fail(
                "partitions", "no owner: \(list(orphans))", do: "Start a node. If nodes are up, realertime members shows why these nodes get no partitions.")
        }
        let unserved = all.filter { ![.served, .moving].contains($0.state) }
        guard unserved.isEmpty else {
            return .warn(
                "partitions", "the owners do not report that they serve \(list(unserved))",
                do: "See the logs of the owners. realertime partitions shows the owners.")
        }
        return .ok("partitions", "each of \(Readable.count(all.count)) partitions is served by exactly one node: \(self.overview.partitionText)")
    }

    func views() -> Check {
        let version = self.members.head.viewVersion
        let behind = self.living.filter { ($0.report?.viewVersion ?? version) < version }
        guard behind.isEmpty else {
            let versions = behind.map { "\($0.id) has \($0.report?.viewVersion ?? 0)" }.joined(separator: ", ")
            return .warn(
                "views", "the version of the view is \(Readable.count(version)), but \(versions)",
                do: "Check the links and the ZooKeeper sessions of these nodes.")
        }
        return .ok("views", "all nodes have version \(Readable.count(version)) of the view")
    }

    func links() -> Check {
        let unreachable = self.living.filter { !$0.notSeenBy.isEmpty }
        guard unreachable.isEmpty else {
            let list = unreachable.map { "\($0.id) is unreachable from \($0.notSeenBy.joined(separator: ", "))" }.joined(separator: "; ")
            return .warn("links", list, do: "Check the unreachable nodes, and the network to their link addresses.")
        }
        guard self.members.head.authoritative else { return .skip("links", "only the controller knows which nodes reach each other") }
        return .ok("links", self.living.count > 1 ? "all nodes reach each other" : "the cluster has only one node")
    }

    func alarms() -> Check {
        var alarms = self.living.compactMap { member in member.report?.alarm.map { "\(member.id): \($0)" } }
        alarms += self.overview.reasons.filter { $0.hasPrefix("Alarm at ") && !alarms.contains(String($0.dropFirst(9))) }
        guard alarms.isEmpty else { return .fail("alarms", alarms.joined(separator: "; "), do: "See the logs of these nodes, and docs/operations.md.") }
        return .ok("alarms", "none")
    }

    func duplicates() -> Check {
        guard let events else { return .skip("ids", "the events cannot be read") }
        let now = events.events.map(\.at).max() ?? 0
        let blocked = events.events.filter { $0.kind == .blocked && now - $0.at < Self.eventAgeMsMax }
        let links = Dictionary(grouping: self.living.filter { !$0.link.isEmpty }, by: \.link).filter { $0.value.count > 1 }
        guard blocked.isEmpty, links.isEmpty else {
            let problems =
                Set(blocked.map { "a second process tried to join as \($0.node)" }).sorted()
                + links.map { "\($0.value.map(\.id).joined(separator: " and ")) advertise the same link address \($0.key)" }.sorted()
            return .warn("ids", problems.joined(separator: "; "), do: "Give each node its own --id and its own addresses.")
        }
        return .ok("ids", "each id and each link address is used once")
    }

    func versions() -> Check {
        let versions = Dictionary(grouping: self.living, by: \.version)
        guard versions.count > 1 else { return .ok("versions", "all nodes run version \(versions.keys.first ?? "unknown")") }
        let list = versions.sorted { $0.key < $1.key }.map { "\($0.value.map(\.id).joined(separator: ", ")) \($0.value.count > 1 ? "run" : "runs") \($0.key)" }
        return .warn("versions", list.joined(separator: "; "), do: "Finish the upgrade. The cluster does not rebalance until all nodes run one version.")
    }

    func balance() -> Check {
        let text = self.overview.balanceText
        if self.overview.head.mode == "maintenance" {
            return .warn("balance", "rebalancing is paused; \(text)", do: "After the maintenance, run realertime rebalance resume.")
        }
        if self.overview.head.mode == "guarded" {
            return .warn("balance", "many nodes failed together, and their partitions are reserved for these nodes; \(text)", do: "Start these nodes again.")
        }
        guard self.overview.spread <= Self.spreadMax else {
            return .warn("balance", text, do: "realertime plan shows the moves that would balance the cluster, and why these moves wait.")
        }
        return .ok("balance", text)
    }
}
