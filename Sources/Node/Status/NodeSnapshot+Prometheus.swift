import Gateway
import NIOCore
import Pipeline

extension NodeSnapshot {
    /// The answer of `GET /metrics`, in Prometheus' text format 0.0.4.
    var prometheus: ByteBuffer {
        var text = MetricsText()
        text.gauge("realertime_info", "What runs here; always 1.", 1, labels: "version=\"\(self.identity.version)\",commit=\"\(self.identity.commit)\"")
        text.gauge("realertime_ready", "1 while subscribers and publishers are served.", self.processState == .ready && self.log.error == nil ? 1 : 0)
        text.gauge("realertime_start_time_seconds", "When the node started, in seconds since 1970.", Int(self.startedAt / 1000))
        text.gauge("realertime_resident_memory_bytes", "Resident memory.", OperatingSystem.residentBytes())

        let transports = Transport.allCases.map { (name: $0.name, index: $0.rawValue) }
        text.begin("realertime_connections_opened_total", "counter", "Subscriptions begun, by transport.")
        for (name, index) in transports {
            text.sample("realertime_connections_opened_total", Int(self.gateway.connections.opened[index]), "transport=\"\(name)\"")
        }
        text.begin("realertime_connections_closed_total", "counter", "Subscriptions ended, by transport.")
        for (name, index) in transports {
            text.sample("realertime_connections_closed_total", Int(self.gateway.connections.ended[index]), "transport=\"\(name)\"")
        }
        text.begin("realertime_connections", "gauge", "Subscribers connected now, by transport.")
        for (name, index) in transports {
            text.sample("realertime_connections", Int(self.gateway.connections.opened[index] - self.gateway.connections.ended[index]), "transport=\"\(name)\"")
        }
        text.counter("realertime_sockets_opened_total", "Connections accepted on the subscriber port.", self.gateway.connections.accepted)
        text.counter("realertime_sockets_closed_total", "Connections of the subscriber port closed.", self.gateway.connections.closed)
        text.gauge(
            "realertime_sockets", "Sockets of the subscriber port open now, by the count that the connection limit goes by.", self.gateway.openSubscribers)
        text.counter("realertime_api_sockets_opened_total", "Connections accepted on the API port.", self.gateway.connections.apiAccepted)
        text.counter("realertime_api_sockets_closed_total", "Connections of the API port closed.", self.gateway.connections.apiClosed)
        text.counter("realertime_api_requests_total", "Requests on the API port.", self.gateway.connections.apiRequests)
        text.gauge("realertime_connections_max", "Subscriber connections there is room for.", self.gateway.subscribersMax)
        text.gauge("realertime_api_connections_max", "Connections of the API port there is room for.", self.gateway.apiConnectionsMax)
        text.counter("realertime_refused_connections_total", "Connections of the subscriber port over its limit.", self.gateway.connections.refusedAtLimit)
        text.counter(
            "realertime_refused_subscribers_total",
            "Subscribers refused for now, at a limit or while the node stops: 503, or 200 with a retry to an EventSource.",
            self.gateway.connections.refusedSubscribers)
        text.counter(
            "realertime_refused_origins_total", "Requests of pages whose origin is not allowed, on either port.", self.gateway.connections.refusedOrigins)
        text.counter(
            "realertime_refused_api_connections_total", "Connections of the API port answered 503 at its limit.", self.gateway.connections.apiRefusedAtLimit)
        text.begin("realertime_dropped_connections_total", "counter", "Connections so far over the limit that they were closed without a word, by port.")
        text.sample("realertime_dropped_connections_total", Int(self.gateway.droppedSubscribers), "port=\"subscribers\"")
        text.sample("realertime_dropped_connections_total", Int(self.gateway.droppedAPI), "port=\"api\"")
        text.counter("realertime_bad_requests_total", "Requests answered 4xx on either port.", self.gateway.connections.badRequests)
        text.counter("realertime_timeouts_total", "Connections closed because a request did not arrive in time.", self.gateway.connections.timedOut)
        text.counter("realertime_stalled_total", "Subscribers closed because their socket took nothing for too long.", self.gateway.connections.stalled)
        text.counter("realertime_resumed_total", "Subscriptions that came with a cursor.", self.gateway.connections.resumed)
        text.counter("realertime_drained_total", "Subscribers told to connect again because this node is drained.", self.gateway.connections.drained)
        text.counter("realertime_subscriptions_opened_total", "Channels subscribed to.", self.gateway.fanout.subscriptionsOpened)
        text.counter("realertime_subscriptions_closed_total", "Channels unsubscribed from.", self.gateway.fanout.subscriptionsClosed)

        text.counter("realertime_published_total", "Events committed.", self.sequencer.published)
        text.counter("realertime_duplicates_total", "Publishes whose message id had been seen.", self.sequencer.duplicates)
        text.counter(
            "realertime_partitions_fenced_total", "Partitions given up because the log was sealed by another owner.", self.sequencer.fencedPartitions)
        text.counter("realertime_refused_total", "Publishes refused with 429 or 503.", self.sequencer.refused)
        text.gauge("realertime_parked", "Publishes that wait for the log.", self.parked)
        text.counter("realertime_delivered_total", "Events given to subscribers, each counted.", self.gateway.fanout.delivered)
        text.counter("realertime_writes_total", "Writes that carried them.", self.gateway.fanout.writes)
        text.counter("realertime_blocked_total", "Times a subscriber's socket took no more and it began to lag.", self.gateway.fanout.blocked)
        text.counter("realertime_replay_reads_total", "Reads of history for subscribers that catch up.", self.gateway.fanout.replayReads)
        text.counter("realertime_replay_failures_total", "Such reads that failed and were repeated.", self.gateway.fanout.replayFailures)
        text.begin("realertime_gaps_total", "counter", "Gap notices told to subscribers, by reason.")
        for (reason, count) in [
            ("expired", self.gateway.fanout.gapsExpired), ("overflow", self.gateway.fanout.gapsOverflow), ("reset", self.gateway.fanout.gapsReset),
        ] {
            text.sample("realertime_gaps_total", Int(count), "reason=\"\(reason)\"")
        }
        text.gauge("realertime_feeds", "Channels with encoded events or subscribers, over all loops.", self.gateway.fanout.feeds)
        text.gauge("realertime_feed_bytes", "What they hold for subscribers that lag a little.", self.gateway.fanout.feedBytes)

        text.gauge("realertime_channels", "Channels whose head is remembered.", self.log.channels)
        text.gauge("realertime_log_events", "Events in history.", self.log.events)
        text.gauge("realertime_log_bytes", "Payload bytes in history.", self.log.bytes)
        text.counter("realertime_log_commits_total", "Commits to the log.", self.log.commits)
        text.counter("realertime_log_failures_total", "Commits that failed.", self.log.failures)
        text.gauge("realertime_log_failing", "1 while the log cannot be written.", self.log.error == nil ? 0 : 1)
        text.counter(
            "realertime_stderr_lines_dropped_total", "Lines of the node's own log that standard error did not take.", DiagnosticStream.standardError.dropped)
        self.member?.write(into: &text)
        return text.buffer
    }
}

/// Writes Prometheus' text format.
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
