import AdminAPI
import Relay

extension RelayMetrics {
    /// The field `relay` of `GET /api/status`.
    var status: NodeStatus.Relay {
        NodeStatus.Relay(
            waiting: self.parkedEvents, atOtherNodes: max(0, self.heldEvents - self.parkedEvents), sentAgain: Int(self.sentAgain), expired: Int(self.expired),
            unroutedPartitions: self.unrouted, connectionsOut: self.outgoing, connectionsIn: self.incoming, edgesBehind: self.edgesBehind)
    }

    /// Writes the metrics of `GET /metrics` about the data path between nodes.
    func write(into text: inout MetricsText) {
        text.gauge("realertime_relay_parked", "Publishes that wait for an owner of their partition.", self.parkedEvents)
        text.gauge("realertime_relay_held", "Publishes that wait for an owner, or for the outcome of another node.", self.heldEvents)
        text.counter(
            "realertime_relay_sent_again_total", "Publishes sent again, because their partition got another owner or a connection ended.", self.sentAgain)
        text.counter("realertime_relay_expired_total", "Publishes refused with 503, because no owner was found in time.", self.expired)
        text.counter(
            "realertime_relay_refused_batches_total", "Batches of publishes refused with 503, because too many publishes waited for other nodes.",
            self.refusedBatches)
        text.gauge("realertime_relay_unrouted_partitions", "Partitions without an owner that this node knows.", self.unrouted)
        text.begin("realertime_relay_connections", "gauge", "Data connections with other nodes, by direction.")
        text.sample("realertime_relay_connections", self.outgoing, "direction=\"out\"")
        text.sample("realertime_relay_connections", self.incoming, "direction=\"in\"")
        text.gauge("realertime_relay_edges_behind", "Edges at other nodes whose connection takes no more events at present.", self.edgesBehind)
        text.counter("realertime_relay_behind_total", "How often an edge at another node fell behind.", self.timesBehind)
        text.counter("realertime_relay_events_total", "Events sent to other nodes.", self.relayedEvents)
        text.counter("realertime_relay_frames_total", "Frames in which events were sent to other nodes.", self.relayedFrames)
    }
}
