package import Pipeline

/// The limits of the data path between nodes.
package struct RelaySettings: Sendable {
    /// Publishes of one relay that wait for an owner, or for the outcome of another node. Above it: 503 with `Retry-After`.
    package var heldEventsMax = 65_536
    /// Bytes of these publishes. Above it: 503 with `Retry-After`.
    package var heldBytesMax = 64 * 1024 * 1024
    /// How long a publish waits for an owner. Above it: 503 with `Retry-After`.
    package var parkedMillisecondsMax: Int64 = 5000
    /// How long a read waits for an owner. Above it: 503 with `Retry-After`.
    package var readMillisecondsMax: Int64 = 2000

    package init() {}

    package init(_ limits: Limits) {
        self.heldEventsMax = limits.parkedPublishesMax
        self.heldBytesMax = limits.parkedBytesMax
    }
}

/// Numbers of one relay, for `status` and `/metrics`. Totals grow; the others are gauges.
package struct RelayMetrics: Sendable {
    /// Publishes that wait for an owner.
    package var parkedEvents = 0
    /// Publishes that wait for an owner, or are at other nodes.
    package var heldEvents = 0
    /// Publishes that were sent again, because their partition got another owner or a link ended.
    package var sentAgain: UInt64 = 0
    /// Publishes that were refused, because no owner was found in time.
    package var expired: UInt64 = 0
    /// Batches that were refused, because too many publishes waited.
    package var refusedBatches: UInt64 = 0
    /// Partitions without an owner that this node knows.
    package var unrouted = 0
    /// Data connections that this node has dialled, and that other nodes have dialled.
    package var outgoing = 0
    package var incoming = 0
    /// Edges that are behind: their link takes no more events at present.
    package var edgesBehind = 0
    /// How often an edge fell behind.
    package var timesBehind: UInt64 = 0
    /// Events sent to other nodes' edges, and frames that carried them.
    package var relayedEvents: UInt64 = 0
    package var relayedFrames: UInt64 = 0
    package var handoffs = HandoffMetrics()

    package static func += (left: inout RelayMetrics, right: RelayMetrics) {
        left.parkedEvents += right.parkedEvents
        left.heldEvents += right.heldEvents
        left.sentAgain += right.sentAgain
        left.expired += right.expired
        left.refusedBatches += right.refusedBatches
        left.unrouted += right.unrouted
        left.outgoing += right.outgoing
        left.incoming += right.incoming
        left.edgesBehind += right.edgesBehind
        left.timesBehind += right.timesBehind
        left.relayedEvents += right.relayedEvents
        left.relayedFrames += right.relayedFrames
    }
}
