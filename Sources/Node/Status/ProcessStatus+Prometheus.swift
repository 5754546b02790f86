import Gateway
import NIOCore
import Pipeline
import SubscriberAPI

extension ProcessStatus {
    /// The response of `GET /metrics`, in the Prometheus text format 0.0.4.
    var prometheus: ByteBuffer {
        var text = MetricsText()
        text.gauge(
            "realertime_info", "Version and commit of the program. Always 1.", 1,
            labels: "version=\"\(self.identity.version)\",commit=\"\(self.identity.commit)\"")
        text.gauge("realertime_ready", "1 while subscribers and publishers are served.", self.processState == .ready && self.log.error == nil ? 1 : 0)
        text.gauge("realertime_start_time_seconds", "When the node started, in seconds since 1970.", Int(self.startedAt / 1000))
        text.gauge("realertime_resident_memory_bytes", "Resident memory.", OperatingSystem.residentBytes())

        text.begin("realertime_connections_opened_total", "counter", "Subscriptions begun, by transport.")
        for transport in Transport.allCases {
            text.sample("realertime_connections_opened_total", Int(self.gateway.connections.opened[transport]), "transport=\"\(transport.name)\"")
        }
        text.begin("realertime_connections_closed_total", "counter", "Subscriptions ended, by transport.")
        for transport in Transport.allCases {
            text.sample("realertime_connections_closed_total", Int(self.gateway.connections.ended[transport]), "transport=\"\(transport.name)\"")
        }
        text.begin("realertime_connections", "gauge", "Open subscriptions, by transport.")
        for transport in Transport.allCases {
            text.sample("realertime_connections", self.gateway.connections.current(transport), "transport=\"\(transport.name)\"")
        }
        text.counter("realertime_sockets_opened_total", "Connections accepted on the subscriber port.", self.gateway.connections.accepted)
        text.counter("realertime_sockets_closed_total", "Closed connections of the subscriber port.", self.gateway.connections.closed)
        text.gauge(
            "realertime_sockets", "Open sockets of the subscriber port. The connection limit applies to this number.", self.gateway.openSubscribers)
        text.counter("realertime_api_sockets_opened_total", "Connections accepted on the API port.", self.gateway.connections.apiAccepted)
        text.counter("realertime_api_sockets_closed_total", "Connections of the API port closed.", self.gateway.connections.apiClosed)
        text.counter("realertime_api_requests_total", "Requests on the API port.", self.gateway.connections.apiRequests)
        text.gauge("realertime_connections_max", "The limit of subscriber connections.", self.gateway.subscribersMax)
        text.gauge("realertime_api_connections_max", "The limit of API connections.", self.gateway.apiConnectionsMax)
        text.counter(
            "realertime_refused_connections_total", "Connections refused because the subscriber port was at its limit.", self.gateway.connections.refusedAtLimit
        )
        text.counter(
            "realertime_refused_subscribers_total",
            "Subscribers refused temporarily, at a limit or while the node is stopping. The status is 503; an EventSource gets 200 with a retry field.",
            self.gateway.connections.refusedSubscribers)
        text.counter(
            "realertime_refused_origins_total", "Requests from pages whose origin is not allowed, on either port.", self.gateway.connections.refusedOrigins)
        text.counter(
            "realertime_refused_api_connections_total", "Connections refused with 503 because the API port was at its limit.",
            self.gateway.connections.apiRefusedAtLimit)
        text.begin(
            "realertime_dropped_connections_total", "counter", "Connections closed without a response because no descriptor was left for a refusal, by port.")
        text.sample("realertime_dropped_connections_total", Int(self.gateway.droppedSubscribers), "port=\"subscribers\"")
        text.sample("realertime_dropped_connections_total", Int(self.gateway.droppedAPI), "port=\"api\"")
        text.counter("realertime_bad_requests_total", "Requests refused with 4xx, on either port.", self.gateway.connections.badRequests)
        text.counter("realertime_timeouts_total", "Connections closed because a request did not arrive in time.", self.gateway.connections.timedOut)
        text.counter("realertime_stalled_total", "Connections closed because their socket accepted no bytes for too long.", self.gateway.connections.stalled)
        text.counter("realertime_resumed_total", "Subscriptions that resumed from a cursor or a position.", self.gateway.connections.resumed)
        text.counter("realertime_drained_total", "Subscribers asked to reconnect because this node is drained.", self.gateway.connections.drained)
        text.counter(
            "realertime_subscriptions_opened_total", "Channels subscribed to: a connection with three channels counts three times.",
            self.gateway.fanout.subscriptionsOpened)
        text.counter("realertime_subscriptions_closed_total", "Channels unsubscribed from.", self.gateway.fanout.subscriptionsClosed)

        text.counter("realertime_published_total", "Events committed.", self.sequencer.published)
        text.counter("realertime_duplicates_total", "Publishes whose message id was already published.", self.sequencer.duplicates)
        text.counter(
            "realertime_partitions_fenced_total", "Partitions relinquished because another owner had sealed the log.", self.sequencer.fencedPartitions)
        text.counter(
            "realertime_partitions_lost_total", "Partitions sealed again because the log had lost data, or might have.", self.sequencer.lostPartitions)
        text.counter("realertime_refused_total", "Publishes refused with 429 or 503.", self.sequencer.refused)
        text.gauge("realertime_parked", "Publishes that wait for the log.", self.parked)
        text.counter(
            "realertime_delivered_total", "Events delivered: one event to a thousand subscribers counts a thousand times.", self.gateway.fanout.delivered)
        text.counter("realertime_writes_total", "Socket writes of delivered events.", self.gateway.fanout.writes)
        text.counter("realertime_blocked_total", "How often a subscriber began to lag because its socket accepted no more bytes.", self.gateway.fanout.blocked)
        text.counter("realertime_replay_reads_total", "Reads of the log for subscribers that catch up.", self.gateway.fanout.replayReads)
        text.counter("realertime_replay_failures_total", "Failed reads of the log for subscribers; each was repeated.", self.gateway.fanout.replayFailures)
        text.begin("realertime_gaps_total", "counter", "Gap notices sent to subscribers, by reason.")
        for reason in GapReason.allCases {
            text.sample("realertime_gaps_total", Int(self.gateway.fanout.gaps(reason)), "reason=\"\(reason.rawValue)\"")
        }
        text.gauge("realertime_feeds", "Channels with encoded events or subscribers, counted on each loop.", self.gateway.fanout.feeds)
        text.gauge("realertime_feed_bytes", "Memory of encoded events.", self.gateway.fanout.feedBytes)

        text.gauge("realertime_channels", "Channels whose head the log keeps.", self.log.channels)
        text.gauge("realertime_log_events", "Events in history.", self.log.events)
        text.gauge("realertime_log_bytes", "Payload bytes in history.", self.log.bytes)
        text.counter("realertime_log_commits_total", "Commits to the log.", self.log.commits)
        text.counter("realertime_log_failures_total", "Commits that failed.", self.log.failures)
        text.counter(
            "realertime_log_upkeep_failures_total", "Failed attempts to delete expired events or idle channels; each is repeated.",
            self.sequencer.upkeepFailures)
        text.gauge("realertime_log_failing", "1 while the log cannot be written.", self.log.error == nil ? 0 : 1)
        text.counter(
            "realertime_stderr_lines_dropped_total", "Lines of the node's log that could not be written to standard error.",
            DiagnosticStream.standardError.dropped)
        self.member?.write(into: &text)
        self.relay?.write(into: &text)
        return text.buffer
    }
}

/// Writes the Prometheus text format.
struct MetricsText {
    private(set) var buffer = ByteBuffer()

    mutating func begin(_ name: String, _ kind: String, _ help: String) {
        self.buffer.writeString("# HELP \(name) \(help)\n# TYPE \(name) \(kind)\n")
    }

    mutating func sample(_ name: String, _ value: Int, _ labels: String = "") {
        self.buffer.writeString(labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n")
    }

    mutating func counter(_ name: String, _ help: String, _ value: UInt64) {
        self.begin(name, "counter", help)
        self.sample(name, Int(value))
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Int, labels: String = "") {
        self.begin(name, "gauge", help)
        self.sample(name, value, labels)
    }
}
