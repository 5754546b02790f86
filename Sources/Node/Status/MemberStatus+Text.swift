import AdminAPI
import Coordination
import Link
import Partitioning
import Pipeline

extension MemberStatus {
    /// The field `cluster` of `GET /api/status`.
    var membership: NodeMembership {
        NodeMembership(
            name: self.summary.name, session: self.summary.session, incarnation: self.summary.incarnation.map { Int($0) },
            viewVersion: Int(self.summary.viewVersion), controller: self.summary.controller,
            partitions: Ownership.State.allCases.map { .init(state: $0.rawValue, count: self.summary.count($0)) }, alarm: self.summary.alarm,
            links: self.links.map { link in
                .init(
                    peer: link.peer.id, incarnation: Int(link.peer.incarnation), direction: link.direction.rawValue, address: link.address, isUp: link.isUp,
                    isDataUp: link.isDataUp, milliseconds: Int(link.milliseconds), lastLoss: link.loss?.description,
                    roundTripMicroseconds: link.roundTripMicroseconds.map { Int($0) },
                    queuedBytes: link.queuedBytes, dropped: Int(link.droppedMessages))
            })
    }

    /// Writes the metrics of `GET /metrics` that only a member has.
    func write(into text: inout MetricsText) {
        text.gauge("realertime_zookeeper_connected", "1 while the session with ZooKeeper is connected.", self.summary.session == "connected" ? 1 : 0)
        text.counter("realertime_zookeeper_sessions_total", "Sessions with ZooKeeper that were opened or attempted.", self.summary.sessions)
        text.gauge(
            "realertime_view_version", "The version of the cluster's view that this node uses. Normally all nodes use the same version.",
            Int(self.summary.viewVersion))
        text.gauge("realertime_controller_known", "1 while this node knows the controller.", self.summary.controller == nil ? 0 : 1)
        text.gauge("realertime_controller", "1 on the node that is the controller.", self.summary.isController ? 1 : 0)
        text.gauge("realertime_cluster_alarm", "1 after an alarm. Status and events describe the alarm.", self.summary.alarm == nil ? 0 : 1)
        text.gauge(
            "realertime_partitions_unserved",
            "Partitions that were granted at least 10 seconds ago and are not served. 0 on nodes that are not the controller.",
            self.summary.unserved)
        text.begin("realertime_partitions", "gauge", "Partitions granted to this node, by state.")
        for state in Ownership.State.allCases { text.sample("realertime_partitions", self.summary.count(state), "state=\"\(state.rawValue)\"") }
        text.begin("realertime_link_up", "gauge", "1 while the link to this peer is up.")
        let outgoing = self.links.filter { $0.direction == .outgoing }
        for link in outgoing { text.sample("realertime_link_up", link.isUp ? 1 : 0, "peer=\"\(link.peer.id)\"") }
        text.begin("realertime_link_data_up", "gauge", "1 while the data connection to this peer is up.")
        for link in outgoing {
            if let isDataUp = link.isDataUp { text.sample("realertime_link_data_up", isDataUp ? 1 : 0, "peer=\"\(link.peer.id)\"") }
        }
        text.begin("realertime_link_round_trip_microseconds", "gauge", "Round trip of the last acknowledged heartbeat.")
        for link in outgoing {
            if let roundTrip = link.roundTripMicroseconds { text.sample("realertime_link_round_trip_microseconds", roundTrip, "peer=\"\(link.peer.id)\"") }
        }
        text.counter("realertime_link_dropped_total", "Dropped messages to peers: there was no link, or the link's buffer was full.", self.dropped)
        text.begin("realertime_cluster_events_total", "counter", "Cluster events that this node has recorded, by kind.")
        for kind in ClusterEvent.Kind.allCases { text.sample("realertime_cluster_events_total", self.summary.events[kind] ?? 0, "kind=\"\(kind.rawValue)\"") }
    }
}
