import SubscriberAPI

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Checks that events are published and delivered correctly.
struct EventChecks: Sendable {
    var probe: Probe

    /// Checks that a published event arrives at a subscriber.
    func roundTrip(_ transport: Transport) async -> Check {
        let name = "round trip \(transport.rawValue)"
        return await self.checking(name, transport) {
            let cursor = transport == .longPoll ? try await self.probe.cursor() : nil
            let text = UUID().uuidString
            let published = PublishInstant()
            let received = try await self.probe.collect(1, by: transport, since: cursor) {
                await published.set(.now)
                try await self.probe.publish(text)
            }
            guard received[0].text == text else {
                return .fail(name, "the received event differs from the published event", do: "Report this as a bug.")
            }
            let latency = await received[0].at - published.instant
            guard latency < .milliseconds(200) else {
                return .warn(
                    name, "\(Readable.milliseconds(latency)) from publish to receipt", do: "Check whether the node's machine or the network is overloaded.")
            }
            return .ok(name, "\(Readable.milliseconds(latency)) from publish to receipt")
        }
    }

    /// Publishes three events, and resumes from the cursor of the first event. The subscription must get exactly the other two events, and then new events.
    func resume(_ transport: Transport) async -> Check {
        let name = "resume \(transport.rawValue)"
        return await self.checking(name, transport) {
            let texts = (0..<4).map { "\($0)-\(UUID().uuidString)" }
            let cursor = transport == .longPoll ? try await self.probe.cursor() : nil
            let first = try await self.probe.collect(3, by: transport, since: cursor) {
                for text in texts.prefix(3) { try await self.probe.publish(text) }
            }
            let second = try await self.probe.collect(3, by: transport, since: first[0].cursor) { try await self.probe.publish(texts[3]) }
            guard first.map(\.text) == Array(texts[..<3]), second.map(\.text) == Array(texts[1...]) else {
                return .fail(name, "a connection resumed after the first of 3 events, and did not get exactly the other 2 events", do: "Report this as a bug.")
            }
            return .ok(name, "a connection resumed after the first of 3 events, and got exactly the other 2 and a new event")
        }
    }

    func badCursor() async -> Check {
        let name = "bad cursor"
        return await self.checking(name, .stream) {
            do {
                let subscription = Subscription(base: self.probe.subscriber, channels: [self.probe.channel], transport: .stream, http: self.probe.http)
                try await withTimeout(self.probe.timeout) { try await subscription.connect(since: "doctor") { _ in throw EnoughEventsError() } }
                return .fail(name, "the connection ended", do: "See the node's log.")
            } catch is CommandError {
                return .ok(name, "the node refuses an invalid cursor")
            } catch is EnoughEventsError {
                return .fail(name, "the node accepts an invalid cursor", do: "Report this as a bug: a subscriber with this cursor could miss events.")
            }
        }
    }

    func duplicates() async -> Check {
        let name = "duplicates"
        return await self.checking(name, .stream) {
            let id = UUID().uuidString
            let first = try await self.probe.publish("once", messageID: id)
            let second = try await self.probe.publish("once", messageID: id)
            guard second.position == first.position, second.isDuplicate else {
                return .fail(
                    name, "the node published two events with the same message id",
                    do: "Check the node's message-ids-max: with 0 the node does not detect repeated message ids.")
            }
            return .ok(name, "the node publishes nothing for a repeated message id")
        }
    }

    /// Waits on all transports in parallel, because a heartbeat may take 25 s.
    func heartbeats() async -> [Check] {
        await withTaskGroup(of: Check.self) { group in
            for transport in Transport.allCases {
                group.addTask {
                    let name = "heartbeat \(transport.rawValue)"
                    let start = ContinuousClock.now
                    return await self.checking(name, transport) {
                        try await self.probe.heartbeat(by: transport, within: .seconds(30))
                        return .ok(name, "arrived after \(Readable.duration(seconds: Int((ContinuousClock.now - start).seconds.rounded())))")
                    }
                }
            }
            var checks: [Check] = []
            for await check in group { checks.append(check) }
            return checks.sorted { $0.name < $1.name }
        }
    }

    private func checking(_ name: String, _ transport: Transport, _ body: () async throws -> Check) async -> Check {
        await Check.catching(name) {
            do {
                return try await body()
            } catch is TimeoutError {
                return .fail(
                    name, "no event arrived in time",
                    do: "If --url leads to a proxy, turn off the proxy's buffering for /\(transport.path)/. Otherwise see the node's log.")
            } catch is Probe.HistoryLostError {
                return .fail(
                    name, "a gap was delivered instead of the events that were published a moment ago",
                    do: "Raise history-events-max, history-seconds-max or history-bytes-max: the history is too short to resume from.")
            } catch let error as DisconnectedError {
                return .fail(
                    name, error.reason, do: "If --url leads to a proxy, configure the proxy to forward /\(transport.path)/. Otherwise see the node's log.")
            }
        }
    }
}

/// The time when the event was published.
private actor PublishInstant {
    private(set) var instant = ContinuousClock.now

    func set(_ instant: ContinuousClock.Instant) {
        self.instant = instant
    }
}
