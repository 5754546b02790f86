package import AdminAPI
import JSON
package import Partitioning

/// The load and health of a node. The node sends them to the controller in each ``NodeReport``.
package struct NodeMetrics: Hashable, Sendable {
    /// Time since the process started, on its own steady clock. Nil if the node runs an older version.
    package var uptimeSeconds: Int64?
    package var connections = 0
    package var publishedPerSecond = 0.0
    package var deliveredPerSecond = 0.0
    package var health = Health.healthy
    /// Why the node is not healthy.
    package var reasons: [String] = []

    package init() {}
}

/// A node's report to the controller about itself. Sent every second, and immediately after an important change.
package struct NodeReport: Hashable, Sendable {
    /// A report that is older than this is outdated.
    static let ageMax = Duration.seconds(5)

    package var incarnation: Int64
    package var viewVersion: Int64
    /// The node commits under these grants.
    package var serving: [Grant] = []
    /// The node commits nothing more under these grants, so the controller may grant the partitions again.
    package var sealed: [Grant] = []
    /// The number of granted partitions that the node does not serve yet.
    package var preparing = 0
    /// Peers with a link, peers with a closed port, and peers that have been unreachable for a while for any reason.
    package var reached: [ProcessID] = []
    package var refused: [ProcessID] = []
    package var unreachable: [ProcessID] = []
    /// The state of the node's session with ZooKeeper: a ``ZooKeeperState/Phase/name``.
    package var session = ZooKeeperState.Phase.connected(session: 0, timeout: .zero).name
    package var metrics = NodeMetrics()
    package var alarm: String?

    package init(incarnation: Int64, viewVersion: Int64) {
        self.incarnation = incarnation
        self.viewVersion = viewVersion
    }

    func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("inc", self.incarnation)
            writer.field("v", self.viewVersion)
            Self.write("serving", self.serving, to: &writer)
            Self.write("sealed", self.sealed, to: &writer)
            writer.field("preparing", self.preparing)
            Self.write("reached", self.reached, to: &writer)
            Self.write("refused", self.refused, to: &writer)
            Self.write("unreachable", self.unreachable, to: &writer)
            writer.field("session", self.session)
            if let uptime = self.metrics.uptimeSeconds { writer.field("uptime", uptime) }
            writer.field("connections", self.metrics.connections)
            writer.field("published", self.metrics.publishedPerSecond)
            writer.field("delivered", self.metrics.deliveredPerSecond)
            writer.field("health", self.metrics.health.rawValue)
            writer.name("reasons")
            writer.array { writer in for reason in self.metrics.reasons { writer.string(reason) } }
            if let alarm = self.alarm { writer.field("alarm", alarm) }
        }
    }

    private static func write(_ name: String, _ partitions: [Grant], to writer: inout JSONWriter<some JSONSink>) {
        writer.name(name)
        writer.array { writer in
            for owned in partitions {
                writer.integer(owned.partition)
                writer.integer(owned.ownerEpoch)
            }
        }
    }

    private static func write(_ name: String, _ peers: [ProcessID], to writer: inout JSONWriter<some JSONSink>) {
        writer.name(name)
        writer.array { writer in
            for peer in peers {
                writer.object { writer in
                    writer.field("id", peer.id)
                    writer.field("inc", peer.incarnation)
                }
            }
        }
    }

    init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.init(
            incarnation: try object.integer("inc", in: 0...Int64.max), viewVersion: try object.integer("v", in: 0...ClusterView.ownerEpochMax))
        self.serving = try Self.partitions(try object.required("serving"))
        self.sealed = try Self.partitions(try object.required("sealed"))
        self.preparing = Int(try object.integer("preparing", in: 0...Int64(ClusterView.partitionCountMax)))
        self.reached = try Self.peers(try object.required("reached"))
        self.refused = try Self.peers(try object.required("refused"))
        self.unreachable = try Self.peers(try object.required("unreachable"))
        self.session = try object.string("session", bytesMax: 20)
        if let uptime = object.optional("uptime") { self.metrics.uptimeSeconds = try uptime.integer(in: 0...Int64.max) }
        self.metrics.connections = Int(try object.integer("connections", in: 0...Int64(Int32.max)))
        self.metrics.publishedPerSecond = try object.required("published").number(in: 0...1e12)
        self.metrics.deliveredPerSecond = try object.required("delivered").number(in: 0...1e12)
        self.metrics.health = try Health(try object.required("health"))
        for reason in try object.required("reasons").array(countMax: 20) { self.metrics.reasons.append(try reason.string(bytesMax: 2000)) }
        self.alarm = try object.optional("alarm")?.string(bytesMax: 2000)
    }

    private static func partitions(_ value: JSONValue) throws(JSONError) -> [Grant] {
        let numbers = try value.integers(in: 0...ClusterView.ownerEpochMax, countMax: 2 * ClusterView.partitionCountMax)
        guard numbers.count.isMultiple(of: 2) else { throw JSONError("\(value.name) has a partition without an owner epoch") }
        return stride(from: 0, to: numbers.count, by: 2).map { Grant(partition: Int(numbers[$0]), ownerEpoch: numbers[$0 + 1]) }
    }

    private static func peers(_ value: JSONValue) throws(JSONError) -> [ProcessID] {
        var peers: [ProcessID] = []
        for value in try value.array(countMax: ClusterView.nodeCountMax) {
            var object = try value.object()
            peers.append(ProcessID(id: try object.string("id", bytesMax: 64), incarnation: try object.integer("inc", in: 0...Int64.max)))
        }
        return peers
    }
}
