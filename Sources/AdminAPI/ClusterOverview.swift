package import JSON

/// The response to `status`: the cluster's metrics, its health, and the reasons for the health.
package struct ClusterOverview: Hashable, Sendable {
    /// The ZooKeeper session of the responding node.
    package struct ZooKeeper: Hashable, Sendable {
        package var node: String
        package var state: String
        package var session: String?
        package var timeoutMilliseconds: Int?

        package init(node: String, state: String, session: String? = nil, timeoutMilliseconds: Int? = nil) {
            self.node = node
            self.state = state
            self.session = session
            self.timeoutMilliseconds = timeoutMilliseconds
        }
    }

    /// The number of nodes in a state.
    package struct NodeCount: Hashable, Sendable {
        package var state: String
        package var count: Int

        package init(state: String, count: Int) {
            self.state = state
            self.count = count
        }
    }

    package struct Partitions: Hashable, Sendable {
        package var total = 0
        package var served = 0
        package var preparing = 0
        package var moving = 0
        package var orphan = 0
        package var unknown = 0
        /// Partitions that two nodes serve under one owner epoch.
        package var contested = 0
        /// Partitions that were granted some time ago and are still not served.
        package var unserved = 0

        package init() {}

        /// The number of partitions in each state, in the order of the states.
        package var counts: [(state: PartitionState, count: Int)] {
            [(.served, self.served), (.preparing, self.preparing), (.moving, self.moving), (.orphan, self.orphan), (.unknown, self.unknown)]
        }
    }

    package var head: ClusterHead
    /// Nil for a node without ZooKeeper.
    package var zookeeper: ZooKeeper?
    /// The number of nodes in each state, in the order of a node's life.
    package var nodes: [NodeCount]
    package var partitions: Partitions
    /// The greatest load of an active node divided by the mean; 1 is even.
    package var spread: Double
    package var connections: Int
    package var publishedPerSecond: Double
    package var deliveredPerSecond: Double
    package var health: Health
    /// Why the cluster is not healthy: sentences that say what to do, the worst first.
    package var reasons: [String]
    /// Operators' requests for nodes. Each names the operator and the reason.
    package var notices: [String]

    package init(
        head: ClusterHead, zookeeper: ZooKeeper?, nodes: [NodeCount], partitions: Partitions, spread: Double, connections: Int, publishedPerSecond: Double,
        deliveredPerSecond: Double, health: Health, reasons: [String], notices: [String]
    ) {
        self.head = head
        self.zookeeper = zookeeper
        self.nodes = nodes
        self.partitions = partitions
        self.spread = spread
        self.connections = connections
        self.publishedPerSecond = publishedPerSecond
        self.deliveredPerSecond = deliveredPerSecond
        self.health = health
        self.reasons = reasons
        self.notices = notices
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            self.head.writeFields(to: &writer)
            self.writeZooKeeper(to: &writer)
            writer.name("nodes")
            writer.object { writer in for node in self.nodes { writer.field(node.state, node.count) } }
            writer.name("partitions")
            writer.object { writer in
                writer.field("total", self.partitions.total)
                for (state, count) in self.partitions.counts { writer.field(state.rawValue, count) }
                writer.field("contested", self.partitions.contested)
                writer.field("unserved", self.partitions.unserved)
            }
            writer.field("spread", self.spread)
            writer.field("connections", self.connections)
            writer.field("published_per_second", self.publishedPerSecond)
            writer.field("delivered_per_second", self.deliveredPerSecond)
            writer.field("health", self.health.rawValue)
            writer.field("reasons", self.reasons)
            writer.field("notices", self.notices)
        }
    }

    private func writeZooKeeper(to writer: inout JSONWriter<some JSONSink>) {
        writer.name("zookeeper")
        guard let zookeeper = self.zookeeper else { return writer.null() }
        writer.object { writer in
            writer.field("node", zookeeper.node)
            writer.field("state", zookeeper.state)
            if let session = zookeeper.session { writer.field("session", session) }
            if let timeout = zookeeper.timeoutMilliseconds { writer.field("timeout_ms", timeout) }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.head = try ClusterHead(from: &object)
        if var zookeeper = try object.optional("zookeeper")?.object() {
            self.zookeeper = ZooKeeper(
                node: try zookeeper.text("node"), state: try zookeeper.text("state"), session: try zookeeper.optional("session")?.text(),
                timeoutMilliseconds: try zookeeper.optional("timeout_ms")?.integer())
        }
        self.nodes = []
        var nodes = try object.required("nodes").object()
        for state in nodes.names { self.nodes.append(NodeCount(state: state, count: try nodes.integer(state))) }
        self.partitions = try Partitions(try object.required("partitions"))
        self.spread = try object.number("spread")
        self.connections = try object.integer("connections")
        self.publishedPerSecond = try object.number("published_per_second")
        self.deliveredPerSecond = try object.number("delivered_per_second")
        self.health = try Health(try object.required("health"))
        self.reasons = try object.texts("reasons")
        self.notices = try object.texts("notices")
    }
}

extension ClusterOverview.Partitions {
    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.total = try object.integer("total")
        self.served = try object.integer("served")
        self.preparing = try object.integer("preparing")
        self.moving = try object.integer("moving")
        self.orphan = try object.integer("orphan")
        self.unknown = try object.integer("unknown")
        self.contested = try object.integer("contested")
        self.unserved = try object.optional("unserved")?.integer() ?? 0
    }
}
