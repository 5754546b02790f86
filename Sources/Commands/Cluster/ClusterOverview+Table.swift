import AdminAPI
import JSON

extension ClusterOverview: ClusterReport {
    static let kind = AdminRequest.Kind.status

    /// Whether the node runs without ZooKeeper, outside a cluster.
    var isAlone: Bool { self.zookeeper == nil }

    var exitStatus: CommandStatus { self.health.exitStatus.worse(self.head.exitStatus) }

    /// One line for each fact, with the label first. The reasons for bad health follow.
    func table(on terminal: Terminal) -> String {
        var facts = Facts()
        facts.add("cluster", "\(self.head.cluster), mode \(self.head.mode)")
        facts.add("health", self.health.rawValue, self.health.colour)
        facts.add("controller", self.head.controllerText)
        facts.add("zookeeper", self.sessionText)
        facts.add("nodes", Self.list(self.nodes.map { ($0.state, $0.count) }))
        facts.add("partitions", "\(Readable.count(self.partitions.total)): \(self.partitionText)")
        facts.add("balance", self.balanceText)
        facts.add(
            "load",
            "\(Readable.count(self.connections, "connection")), \(Readable.rate(self.publishedPerSecond)) published, "
                + "\(Readable.rate(self.deliveredPerSecond)) delivered")
        let reasons = self.reasons.map { terminal.sentence($0, lead: "! ", self.health.colour) }
        let notices = self.notices.map { terminal.sentence($0, lead: "- ", .dim) }
        return ([facts.text(on: terminal, labelWidth: Facts.statusLabelWidth)] + reasons + notices).joined(separator: "\n")
    }

    var balanceText: String { "the node with the most partitions has \(Readable.fixed(self.spread, 3)) times an even share" }

    var sessionText: String {
        guard let zookeeper else { return "none: this node is not in a cluster" }
        let session = zookeeper.session.map { ", session \($0)" } ?? ""
        let timeout = zookeeper.timeoutMilliseconds.map { ", timeout \(Readable.fixed(Double($0) / 1000, 1)) s" } ?? ""
        return "\(zookeeper.state)\(session)\(timeout) (session of \(zookeeper.node)\(self.head.authoritative ? ", the controller" : ""))"
    }

    var partitionText: String {
        Self.list(self.partitions.counts.map { ($0.state.rawValue, $0.count) } + [("contested", self.partitions.contested)])
    }

    private static func list(_ counts: [(String, Int)]) -> String {
        let some = counts.filter { $0.1 > 0 }.map { "\(Readable.count($0.1)) \($0.0)" }
        return some.isEmpty ? "none" : some.joined(separator: ", ")
    }
}
