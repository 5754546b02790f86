package import JSON

/// The response to `plan`: all moves of a rebalance that starts from the current state.
package struct ClusterPlan: Hashable, Sendable {
    /// Partitions that move between one pair of nodes for one reason.
    package struct Pair: Hashable, Sendable {
        package var from: String
        package var to: String
        /// Why the partitions move: `orphan`, `drain`, `operator` or `balance`.
        package var reason: String
        package var count: Int

        package init(from: String, to: String, reason: String, count: Int) {
            self.from = from
            self.to = to
            self.reason = reason
            self.count = count
        }
    }

    package var head: ClusterHead
    package var moves = 0
    /// The number of partitions without an owner that get an owner.
    package var grants = 0
    /// The smallest number of moves and grants that any plan with the same quotas needs.
    package var lowerBound = 0
    /// The number of moves that do not start now, because balancing is paused, or because it waits for more nodes to join.
    package var waiting = 0
    package var rounds = 0
    package var spreadBefore = 1.0
    package var spreadAfter = 1.0
    /// Whether balancing may start now. No node has joined recently, all nodes can be reached, and all nodes have the same version.
    package var settled = true
    package var pairs: [Pair] = []
    /// Requests that cannot be executed, such as a pin to a node that is down.
    package var refusals: [String] = []

    package init(head: ClusterHead) {
        self.head = head
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            self.head.writeFields(to: &writer)
            writer.field("moves", self.moves)
            writer.field("grants", self.grants)
            writer.field("lower_bound", self.lowerBound)
            writer.field("waiting", self.waiting)
            writer.field("rounds", self.rounds)
            writer.field("spread_before", self.spreadBefore)
            writer.field("spread_after", self.spreadAfter)
            writer.field("settled", self.settled)
            writer.name("pairs")
            writer.array { writer in
                for pair in self.pairs {
                    writer.object { writer in
                        writer.field("from", pair.from)
                        writer.field("to", pair.to)
                        writer.field("reason", pair.reason)
                        writer.field("count", pair.count)
                    }
                }
            }
            writer.field("refusals", self.refusals)
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.head = try ClusterHead(from: &object)
        self.moves = try object.integer("moves")
        self.grants = try object.integer("grants")
        self.lowerBound = try object.integer("lower_bound")
        self.waiting = try object.integer("waiting")
        self.rounds = try object.integer("rounds")
        self.spreadBefore = try object.number("spread_before")
        self.spreadAfter = try object.number("spread_after")
        self.settled = try object.boolean("settled")
        self.pairs = try object.values("pairs") { value throws(JSONError) in
            var pair = try value.object()
            return Pair(from: try pair.text("from"), to: try pair.text("to"), reason: try pair.text("reason"), count: try pair.integer("count"))
        }
        self.refusals = try object.texts("refusals")
    }
}
