/// The response of `GET /api/cluster`.
struct ClusterOverview: ClusterReport, Equatable {
    static let path = "/api/cluster"

    /// The session of the responding node, which is the controller if it can be reached.
    struct ZooKeeper: Decodable, Equatable, Sendable {
        var node: String
        var state: String
        var session: String?
        var timeoutMs: Int?
    }

    struct Partitions: Decodable, Equatable, Sendable {
        var total: Int
        var served: Int
        var preparing: Int
        var moving: Int
        var orphan: Int
        var unknown: Int
        /// Served by two nodes under one owner epoch.
        var contested: Int
    }

    var head: ClusterHead
    /// Nil of a node in no cluster.
    var zookeeper: ZooKeeper?
    var nodes: [String: Int]
    var partitions: Partitions
    /// The greatest load of an active node divided by the mean; 1 is even.
    var spread: Double
    var connections: Int
    var publishedPerSecond: Double
    var deliveredPerSecond: Double
    var health: NodeStatus.Health
    var reasons: [String]
    /// What operators requested of nodes, with name and reason.
    var notices: [String]

    private enum CodingKeys: CodingKey {
        case zookeeper, nodes, partitions, spread, connections, publishedPerSecond, deliveredPerSecond, health, reasons, notices
    }

    init(from decoder: any Decoder) throws {
        self.head = try ClusterHead(from: decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.zookeeper = try values.decodeIfPresent(ZooKeeper.self, forKey: .zookeeper)
        self.nodes = try values.decode([String: Int].self, forKey: .nodes)
        self.partitions = try values.decode(Partitions.self, forKey: .partitions)
        self.spread = try values.decode(Double.self, forKey: .spread)
        self.connections = try values.decode(Int.self, forKey: .connections)
        self.publishedPerSecond = try values.decode(Double.self, forKey: .publishedPerSecond)
        self.deliveredPerSecond = try values.decode(Double.self, forKey: .deliveredPerSecond)
        self.health = try values.decode(NodeStatus.Health.self, forKey: .health)
        self.reasons = try values.decode([String].self, forKey: .reasons)
        self.notices = try values.decode([String].self, forKey: .notices)
    }

    /// A node without ZooKeeper.
    var isAlone: Bool { self.zookeeper == nil }

    var exitStatus: CommandStatus { self.health.exitStatus.worse(self.head.exitStatus) }

    /// One line for each fact, with the label first. The reasons for bad health follow.
    func table(on terminal: Terminal) -> String {
        var facts = Facts()
        facts.add("cluster", "\(self.head.cluster), mode \(self.head.mode)")
        facts.add("health", self.health.rawValue, self.health.colour)
        facts.add("controller", self.head.controllerWords)
        facts.add("zookeeper", self.sessionWords)
        facts.add("nodes", Self.list(NodeStateName.all.map { ($0, self.nodes[$0] ?? 0) }))
        facts.add("partitions", "\(Readable.count(self.partitions.total)): \(self.partitionWords)")
        facts.add("balance", "the fullest node has \(Readable.fixed(self.spread, 3)) of an even share")
        facts.add(
            "load",
            "\(Readable.count(self.connections, "connection")), \(Readable.rate(self.publishedPerSecond)) published, "
                + "\(Readable.rate(self.deliveredPerSecond)) delivered")
        let reasons = self.reasons.map { terminal.sentence($0, lead: "! ", self.health.colour) }
        let notices = self.notices.map { terminal.sentence($0, lead: "- ", .dim) }
        return ([facts.text(on: terminal, labelWidth: StatusView.labelWidth)] + reasons + notices).joined(separator: "\n")
    }

    var sessionWords: String {
        guard let zookeeper else { return "none: this node is alone" }
        let session = zookeeper.session.map { ", session \($0)" } ?? ""
        let timeout = zookeeper.timeoutMs.map { ", timeout \(Readable.fixed(Double($0) / 1000, 1)) s" } ?? ""
        return "\(zookeeper.state)\(session)\(timeout) (of \(zookeeper.node)\(self.head.authoritative ? ", the controller" : ""))"
    }

    var partitionWords: String {
        let parts = self.partitions
        return Self.list([
            ("served", parts.served), ("preparing", parts.preparing), ("moving", parts.moving), ("orphan", parts.orphan), ("unknown", parts.unknown),
            ("contested", parts.contested),
        ])
    }

    private static func list(_ counts: [(String, Int)]) -> String {
        let some = counts.filter { $0.1 > 0 }.map { "\(Readable.count($0.1)) \($0.0)" }
        return some.isEmpty ? "none" : some.joined(separator: ", ")
    }
}

/// The states of a node, as in the view.
enum NodeStateName {
    static let all = ["active", "joining", "cordoned", "draining", "drained", "fenced", "down"]
}

extension NodeStatus.Health {
    var exitStatus: CommandStatus {
        switch self {
        case .healthy: .ok
        case .degraded: .degraded
        case .critical: .critical
        }
    }

    var colour: Terminal.Colour {
        switch self {
        case .healthy: .green
        case .degraded: .yellow
        case .critical: .red
        }
    }
}
