import JSON

/// A node's membership in its cluster, and its links: the field `cluster` of ``NodeStatus``.
package struct NodeMembership: Hashable, Sendable {
    /// The number of the node's partitions in one state.
    package struct PartitionCount: Hashable, Sendable {
        package var state: String
        package var count: Int

        package init(state: String, count: Int) {
            self.state = state
            self.count = count
        }
    }

    package struct Link: Hashable, Sendable {
        package var peer: String
        package var incarnation: Int
        /// `outgoing` or `incoming`.
        package var direction: String
        package var address: String?
        package var isUp: Bool
        /// Whether the data connection is up. Nil for an older node.
        package var isDataUp: Bool?
        /// How long the link has been up or down.
        package var milliseconds: Int
        package var lastLoss: String?
        package var roundTripMicroseconds: Int?
        package var queuedBytes: Int
        package var dropped: Int

        package init(
            peer: String, incarnation: Int, direction: String, address: String?, isUp: Bool, isDataUp: Bool? = nil, milliseconds: Int, lastLoss: String?,
            roundTripMicroseconds: Int?, queuedBytes: Int, dropped: Int
        ) {
            self.peer = peer
            self.incarnation = incarnation
            self.direction = direction
            self.address = address
            self.isUp = isUp
            self.isDataUp = isDataUp
            self.milliseconds = milliseconds
            self.lastLoss = lastLoss
            self.roundTripMicroseconds = roundTripMicroseconds
            self.queuedBytes = queuedBytes
            self.dropped = dropped
        }
    }

    /// The name of the cluster.
    package var name: String
    /// The state of the node's session with ZooKeeper, such as `connected`.
    package var session: String
    package var incarnation: Int?
    package var viewVersion: Int
    package var controller: String?
    package var partitions: [PartitionCount]
    package var alarm: String?
    package var links: [Link]

    package init(
        name: String, session: String, incarnation: Int?, viewVersion: Int, controller: String?, partitions: [PartitionCount], alarm: String?, links: [Link]
    ) {
        self.name = name
        self.session = session
        self.incarnation = incarnation
        self.viewVersion = viewVersion
        self.controller = controller
        self.partitions = partitions
        self.alarm = alarm
        self.links = links
    }

    func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("name", self.name)
            writer.field("session", self.session)
            if let incarnation = self.incarnation { writer.field("incarnation", incarnation) }
            writer.field("view_version", self.viewVersion)
            if let controller = self.controller { writer.field("controller", controller) }
            writer.name("partitions")
            writer.object { writer in for partitions in self.partitions { writer.field(partitions.state, partitions.count) } }
            if let alarm = self.alarm { writer.field("alarm", alarm) }
            writer.name("links")
            writer.array { writer in for link in self.links { link.write(to: &writer) } }
        }
    }

    init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.name = try object.text("name")
        self.session = try object.text("session")
        self.incarnation = try object.optional("incarnation")?.integer()
        self.viewVersion = try object.integer("view_version")
        self.controller = try object.optional("controller")?.text()
        self.partitions = []
        var counts = try object.required("partitions").object()
        for state in counts.names { self.partitions.append(PartitionCount(state: state, count: try counts.integer(state))) }
        self.alarm = try object.optional("alarm")?.text()
        self.links = try object.values("links") { value throws(JSONError) in try Link(value) }
    }
}

extension NodeMembership.Link {
    fileprivate func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("peer", self.peer)
            writer.field("incarnation", self.incarnation)
            writer.field("direction", self.direction)
            if let address = self.address { writer.field("address", address) }
            writer.field("state", self.isUp ? "up" : "down")
            if let isDataUp { writer.field("data", isDataUp ? "up" : "down") }
            writer.field("for_ms", self.milliseconds)
            if let loss = self.lastLoss { writer.field("last_loss", loss) }
            if let roundTrip = self.roundTripMicroseconds { writer.field("round_trip_us", roundTrip) }
            writer.field("queued_bytes", self.queuedBytes)
            writer.field("dropped", self.dropped)
        }
    }

    fileprivate init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.peer = try object.text("peer")
        self.incarnation = try object.integer("incarnation")
        self.direction = try object.text("direction")
        self.address = try object.optional("address")?.text()
        self.isUp = try object.text("state") == "up"
        self.isDataUp = try object.optional("data").map { (value) throws(JSONError) in try value.text() == "up" }
        self.milliseconds = try object.integer("for_ms")
        self.lastLoss = try object.optional("last_loss")?.text()
        self.roundTripMicroseconds = try object.optional("round_trip_us")?.integer()
        self.queuedBytes = try object.integer("queued_bytes")
        self.dropped = try object.integer("dropped")
    }
}
