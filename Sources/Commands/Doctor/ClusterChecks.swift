import AdminAPI

/// Checks the controller's reports for consistency.
struct ClusterChecks: Sendable {
    var overview: ClusterOverview
    var members: ClusterMembers
    var partitions: ClusterPartitions
    var events: ClusterEvents?

    /// The greatest age of an event that is still relevant.
    private static let eventAgeMsMax = 10 * 60 * 1000
    private static let spreadMax = 1.25

    /// Checks twice if something is in progress, because a transient state is not a finding. Empty for a node in no cluster.
    static func look(at node: NodeClient) async -> [Check] {
        let cluster = ClusterClient(node: node)
        do {
            let first = try await Self.gather(cluster)
            guard !first.overview.isAlone else { return [] }
            let terms = await ZooKeeperCheck.look(at: node)
            let checks = first.all() + [terms]
            guard checks.contains(where: { $0.outcome > .skip }) else { return checks }
            try await Task.sleep(for: .seconds(2))
            return try await Self.gather(cluster).all() + [terms]
        } catch {
            return [.fail("cluster", "\(error)", do: "Ask another node, and see this one's log.")]
        }
    }

    private static func gather(_ cluster: ClusterClient) async throws -> ClusterChecks {
        ClusterChecks(
            overview: try await cluster.look(ClusterOverview.self).report, members: try await cluster.look(ClusterMembers.self).report,
            partitions: try await cluster.look(ClusterPartitions.self).report, events: try? await cluster.look(ClusterEvents.self).report)
    }

    func all() -> [Check] {
        [
            self.controller(), self.zookeeper(), self.nodes(), self.servers(), self.views(), self.links(), self.alarms(), self.duplicates(), self.versions(),
            self.balance(),
        ]
    }

    private var living: [ClusterMembers.Member] { self.members.members.filter { $0.incarnation != nil } }

    /// Without ZooKeeper there is one finding. Its consequences are not reported separately.
    private var isCutOff: Bool { self.overview.zookeeper?.state != "connected" }

    func controller() -> Check {
        let head = self.overview.head
        if self.isCutOff { return .skip("controller", "\(head.controllerWords): not known for certain without ZooKeeper") }
        guard let controller = head.controller else {
            return .fail("controller", head.coordination.reason ?? "there is none", do: "If ZooKeeper is well, see the nodes' logs for why none is elected.")
        }
        guard head.authoritative else {
            return .warn(
                "controller", head.coordination.reason ?? "\(controller.id) cannot be asked",
                do: "Check the link port of \(controller.id) from \(head.through), or ask another node.")
        }
        return .ok("controller", "\(controller.id), epoch \(controller.epoch)")
    }

    func zookeeper() -> Check {
        guard self.isCutOff else { return .ok("zookeeper", self.overview.sessionWords) }
        return .warn(
            "zookeeper", self.overview.head.coordination.reason ?? self.overview.sessionWords,
            do: "Repair ZooKeeper or the network to it. The nodes come back by themselves: do not restart them.")
    }

    func nodes() -> Check {
        let missing = self.members.members.filter { ["down", "fenced", "joining"].contains($0.state) && $0.desired?.state != "draining" }
        // Only the controller knows which of the others report.
        let suspects = self.living.filter { [.suspect, .down].contains($0.presence) && !missing.contains($0) }
        guard missing.isEmpty, suspects.isEmpty else {
            let words = missing.map { "\($0.id) is \($0.state)" } + suspects.map { "\($0.id) \($0.presenceWords ?? "is \($0.presence.rawValue)")" }
            return .warn("nodes", words.joined(separator: ", "), do: "Start what is down, or forget it; see the log of what is suspect.")
        }
        guard self.members.head.authoritative else {
            return .skip("nodes", "\(self.living.count) are members; which of them report, only the controller knows")
        }
        return .ok("nodes", "\(self.living.count) are members, and report")
    }

    /// Each partition is served by exactly one node, according to the nodes' own reports, under the view's owner epoch.
    func servers() -> Check {
        func list(_ partitions: [ClusterPartitions.Partition]) -> String {
            partitions.prefix(5).map { String($0.partition) }.joined(separator: ", ") + (partitions.count > 5 ? " and \(partitions.count - 5) more" : "")
        }
        let all = self.partitions.partitions
        let contested = all.filter { $0.isContested }
        guard contested.isEmpty else {
            return .fail("partitions", "two nodes serve \(list(contested)) under one owner epoch", do: "Stop one of the two at once, and report this.")
        }
        guard self.overview.head.authoritative else { return .skip("partitions", "which node serves which, only the controller knows") }
        let orphans = all.filter { $0.state == .orphan }
        guard orphans.isEmpty else { return .fail("partitions", "\(list(orphans)) have no owner", do: "Start a node, or see in members why none may own.") }
        let silent = all.filter { ![.served, .moving].contains($0.state) }
        guard silent.isEmpty else {
            return .warn(
                "partitions", "the owners of \(list(silent)) do not say that they serve them", do: "See the logs of their owners (realertime partitions).")
        }
        return .ok("partitions", "each of \(Readable.count(all.count)) has exactly one server under its owner epoch: \(self.overview.partitionWords)")
    }

    func views() -> Check {
        let version = self.members.head.viewVersion
        let behind = self.living.filter { ($0.report?.viewVersion ?? version) < version }
        guard behind.isEmpty else {
            let words = behind.map { "\($0.id) has \($0.report?.viewVersion ?? 0)" }.joined(separator: ", ")
            return .warn("views", "the view is at \(Readable.count(version)), but \(words)", do: "Check their links and their ZooKeeper sessions.")
        }
        return .ok("views", "all have view \(Readable.count(version))")
    }

    func links() -> Check {
        let unseen = self.living.filter { !$0.notSeenBy.isEmpty }
        guard unseen.isEmpty else {
            let words = unseen.map { "\($0.id) is not seen by \($0.notSeenBy.joined(separator: ", "))" }.joined(separator: "; ")
            return .warn("links", words, do: "Look at the nodes that are not seen, and at the network to their link addresses.")
        }
        guard self.members.head.authoritative else { return .skip("links", "only the controller knows who sees whom") }
        return .ok("links", self.living.count > 1 ? "everyone sees everyone" : "there is one member only")
    }

    func alarms() -> Check {
        var words = self.living.compactMap { member in member.report?.alarm.map { "\(member.id): \($0)" } }
        words += self.overview.reasons.filter { $0.hasPrefix("Alarm at ") && !words.contains(String($0.dropFirst(9))) }
        guard words.isEmpty else { return .fail("alarms", words.joined(separator: "; "), do: "See the logs of these nodes, and docs/operations.md.") }
        return .ok("alarms", "none")
    }

    func duplicates() -> Check {
        guard let events else { return .skip("ids", "the events cannot be read") }
        let now = events.events.map(\.at).max() ?? 0
        let blocked = events.events.filter { $0.kind == .blocked && now - $0.at < Self.eventAgeMsMax }
        let links = Dictionary(grouping: self.living.filter { !$0.link.isEmpty }, by: \.link).filter { $0.value.count > 1 }
        guard blocked.isEmpty, links.isEmpty else {
            let words =
                Set(blocked.map { "a second process wanted to be \($0.node)" }).sorted()
                + links.map { "\($0.value.map(\.id).joined(separator: " and ")) give the same address, \($0.key)" }.sorted()
            return .warn("ids", words.joined(separator: "; "), do: "Give each node an --id and addresses of its own.")
        }
        return .ok("ids", "each is used once")
    }

    func versions() -> Check {
        let versions = Dictionary(grouping: self.living, by: \.version)
        guard versions.count > 1 else { return .ok("versions", "all run \(versions.keys.first ?? "nothing")") }
        let words = versions.sorted { $0.key < $1.key }.map { "\($0.value.map(\.id).joined(separator: ", ")) \($0.value.count > 1 ? "run" : "runs") \($0.key)" }
        return .warn("versions", words.joined(separator: "; "), do: "Finish the upgrade: until then nothing is balanced.")
    }

    func balance() -> Check {
        let words = "the fullest node has \(Readable.fixed(self.overview.spread, 3)) of an even share"
        if self.overview.head.mode == "maintenance" {
            return .warn("balance", "rebalancing is paused; \(words)", do: "When what it was paused for is done: realertime rebalance resume.")
        }
        if self.overview.head.mode == "guarded" {
            return .warn("balance", "many nodes vanished at once, and their partitions are held for them; \(words)", do: "Bring them back.")
        }
        guard self.overview.spread <= Self.spreadMax else {
            return .warn("balance", words, do: "See realertime plan for what would move, and what holds it back.")
        }
        return .ok("balance", words)
    }
}
