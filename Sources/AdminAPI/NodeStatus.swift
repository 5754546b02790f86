package import JSON

/// The response of `GET /api/status`: the metrics of one node, its health, and the reasons for the health.
package struct NodeStatus: Hashable, Sendable {
    package struct Node: Hashable, Sendable {
        package var id: String
        package var version: String
        package var commit: String
        package var pid: Int
        package var startedAt: String
        package var uptimeSeconds: Int
        /// The node's wall clock. Nil from an older node.
        package var time: String?
        /// `starting`, `ready` or `stopping`.
        package var state: String
        package var loops: Int

        package init(id: String, version: String, commit: String, pid: Int, startedAt: String, uptimeSeconds: Int, time: String?, state: String, loops: Int) {
            self.id = id
            self.version = version
            self.commit = commit
            self.pid = pid
            self.startedAt = startedAt
            self.uptimeSeconds = uptimeSeconds
            self.time = time
            self.state = state
            self.loops = loops
        }
    }

    package struct Log: Hashable, Sendable {
        package var kind: String
        /// Nil for a log in memory.
        package var path: String?
        package var durability: String
        /// `ready` or `failing`.
        package var state: String
        package var error: String?
        package var events: Int
        package var bytes: Int
        package var channels: Int

        package init(kind: String, path: String?, durability: String, error: String?, events: Int, bytes: Int, channels: Int) {
            self.kind = kind
            self.path = path
            self.durability = durability
            self.state = error == nil ? "ready" : "failing"
            self.error = error
            self.events = events
            self.bytes = bytes
            self.channels = channels
        }
    }

    package struct Subscribers: Hashable, Sendable {
        /// The number of subscribers with one transport.
        package struct TransportCount: Hashable, Sendable {
            package var transport: String
            package var count: Int

            package init(transport: String, count: Int) {
                self.transport = transport
                self.count = count
            }
        }

        package var connections: Int
        package var connectionsMax: Int
        package var subscriptions: Int
        /// Every transport, in the order of the documentation.
        package var byTransport: [TransportCount]

        package init(connections: Int, connectionsMax: Int, subscriptions: Int, byTransport: [TransportCount]) {
            self.connections = connections
            self.connectionsMax = connectionsMax
            self.subscriptions = subscriptions
            self.byTransport = byTransport
        }
    }

    package struct Rates: Hashable, Sendable {
        package var publishedPerSecond: Double
        package var deliveredPerSecond: Double

        package init(publishedPerSecond: Double, deliveredPerSecond: Double) {
            self.publishedPerSecond = publishedPerSecond
            self.deliveredPerSecond = deliveredPerSecond
        }
    }

    package struct Totals: Hashable, Sendable {
        package var published: Int
        package var delivered: Int
        package var duplicates: Int
        package var gaps: Int
        package var refused: Int
        package var refusedConnections: Int

        package init(published: Int, delivered: Int, duplicates: Int, gaps: Int, refused: Int, refusedConnections: Int) {
            self.published = published
            self.delivered = delivered
            self.duplicates = duplicates
            self.gaps = gaps
            self.refused = refused
            self.refusedConnections = refusedConnections
        }
    }

    /// The data path between this node and the other nodes of its cluster. Totals grow; the others are the values of this moment.
    package struct Relay: Hashable, Sendable {
        /// Publishes that wait for an owner.
        package var waiting: Int
        /// Publishes that other nodes have, and of which the outcome is not known.
        package var atOtherNodes: Int
        /// Total of publishes that were sent again to the next owner.
        package var sentAgain: Int
        /// Total of publishes that were refused, because no owner was found in time.
        package var expired: Int
        /// Partitions without an owner that this node knows.
        package var unroutedPartitions: Int
        /// Data connections that this node has dialled.
        package var connectionsOut: Int
        /// Data connections that other nodes have dialled.
        package var connectionsIn: Int
        /// Other nodes whose connections take no more events at present.
        package var edgesBehind: Int

        package init(
            waiting: Int, atOtherNodes: Int, sentAgain: Int, expired: Int, unroutedPartitions: Int, connectionsOut: Int, connectionsIn: Int, edgesBehind: Int
        ) {
            self.waiting = waiting
            self.atOtherNodes = atOtherNodes
            self.sentAgain = sentAgain
            self.expired = expired
            self.unroutedPartitions = unroutedPartitions
            self.connectionsOut = connectionsOut
            self.connectionsIn = connectionsIn
            self.edgesBehind = edgesBehind
        }
    }

    package var node: Node
    package var listen: String
    package var api: String
    package var log: Log
    package var subscribers: Subscribers
    package var rates: Rates
    package var totals: Totals
    /// Nil for a node without ZooKeeper.
    package var relay: Relay?
    /// Nil for a node without ZooKeeper.
    package var cluster: NodeMembership?
    package var health: Health
    package var reasons: [String]

    package init(
        node: Node, listen: String, api: String, log: Log, subscribers: Subscribers, rates: Rates, totals: Totals, relay: Relay?, cluster: NodeMembership?,
        health: Health, reasons: [String]
    ) {
        self.node = node
        self.listen = listen
        self.api = api
        self.log = log
        self.subscribers = subscribers
        self.rates = rates
        self.totals = totals
        self.relay = relay
        self.cluster = cluster
        self.health = health
        self.reasons = reasons
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.name("node")
            self.node.write(to: &writer)
            writer.field("listen", self.listen)
            writer.field("api", self.api)
            writer.name("log")
            self.log.write(to: &writer)
            writer.name("subscribers")
            self.subscribers.write(to: &writer)
            writer.name("rates")
            writer.object { writer in
                writer.field("published_per_second", self.rates.publishedPerSecond)
                writer.field("delivered_per_second", self.rates.deliveredPerSecond)
            }
            writer.name("totals")
            self.totals.write(to: &writer)
            if let relay = self.relay {
                writer.name("relay")
                relay.write(to: &writer)
            }
            writer.name("cluster")
            if let cluster = self.cluster { cluster.write(to: &writer) } else { writer.null() }
            writer.field("health", self.health.rawValue)
            writer.field("reasons", self.reasons)
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.node = try Node(try object.required("node"))
        self.listen = try object.text("listen")
        self.api = try object.text("api")
        self.log = try Log(try object.required("log"))
        self.subscribers = try Subscribers(try object.required("subscribers"))
        var rates = try object.required("rates").object()
        self.rates = Rates(
            publishedPerSecond: try rates.number("published_per_second"), deliveredPerSecond: try rates.number("delivered_per_second"))
        self.totals = try Totals(try object.required("totals"))
        self.relay = try object.optional("relay").map { (value) throws(JSONError) in try Relay(value) }
        self.cluster = try object.optional("cluster").map { (value) throws(JSONError) in try NodeMembership(value) }
        self.health = try Health(try object.required("health"))
        self.reasons = try object.texts("reasons")
    }
}

extension NodeStatus.Node {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("id", self.id)
            writer.field("version", self.version)
            writer.field("commit", self.commit)
            writer.field("pid", self.pid)
            writer.field("started_at", self.startedAt)
            writer.field("uptime_seconds", self.uptimeSeconds)
            if let time = self.time { writer.field("time", time) }
            writer.field("state", self.state)
            writer.field("loops", self.loops)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.id = try object.text("id")
        self.version = try object.text("version")
        self.commit = try object.text("commit")
        self.pid = try object.integer("pid")
        self.startedAt = try object.text("started_at")
        self.uptimeSeconds = try object.integer("uptime_seconds")
        self.time = try object.optional("time")?.text()
        self.state = try object.text("state")
        self.loops = try object.integer("loops")
    }
}

extension NodeStatus.Log {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("kind", self.kind)
            writer.name("path")
            if let path = self.path { writer.string(path) } else { writer.null() }
            writer.field("durability", self.durability)
            writer.field("state", self.state)
            writer.name("error")
            if let error = self.error { writer.string(error) } else { writer.null() }
            writer.field("events", self.events)
            writer.field("bytes", self.bytes)
            writer.field("channels", self.channels)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.kind = try object.text("kind")
        self.path = try object.optional("path")?.text()
        self.durability = try object.text("durability")
        self.state = try object.text("state")
        self.error = try object.optional("error")?.text()
        self.events = try object.integer("events")
        self.bytes = try object.integer("bytes")
        self.channels = try object.integer("channels")
    }
}

extension NodeStatus.Subscribers {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("connections", self.connections)
            writer.field("connections_max", self.connectionsMax)
            writer.field("subscriptions", self.subscriptions)
            writer.name("by_transport")
            writer.object { writer in for open in self.byTransport { writer.field(open.transport, open.count) } }
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.connections = try object.integer("connections")
        self.connectionsMax = try object.integer("connections_max")
        self.subscriptions = try object.integer("subscriptions")
        self.byTransport = []
        var counts = try object.required("by_transport").object()
        for name in counts.names { self.byTransport.append(TransportCount(transport: name, count: try counts.integer(name))) }
    }
}

extension NodeStatus.Totals {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("published", self.published)
            writer.field("delivered", self.delivered)
            writer.field("duplicates", self.duplicates)
            writer.field("gaps", self.gaps)
            writer.field("refused", self.refused)
            writer.field("refused_connections", self.refusedConnections)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.published = try object.integer("published")
        self.delivered = try object.integer("delivered")
        self.duplicates = try object.integer("duplicates")
        self.gaps = try object.integer("gaps")
        self.refused = try object.integer("refused")
        self.refusedConnections = try object.optional("refused_connections")?.integer() ?? 0
    }
}

extension NodeStatus.Relay {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("waiting", self.waiting)
            writer.field("at_other_nodes", self.atOtherNodes)
            writer.field("sent_again", self.sentAgain)
            writer.field("expired", self.expired)
            writer.field("unrouted_partitions", self.unroutedPartitions)
            writer.field("connections_out", self.connectionsOut)
            writer.field("connections_in", self.connectionsIn)
            writer.field("edges_behind", self.edgesBehind)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.waiting = try object.integer("waiting")
        self.atOtherNodes = try object.integer("at_other_nodes")
        self.sentAgain = try object.integer("sent_again")
        self.expired = try object.integer("expired")
        self.unroutedPartitions = try object.integer("unrouted_partitions")
        self.connectionsOut = try object.integer("connections_out")
        self.connectionsIn = try object.integer("connections_in")
        self.edgesBehind = try object.integer("edges_behind")
    }
}
