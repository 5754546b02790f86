#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Checks of delivery.
struct EventChecks: Sendable {
    var probe: Probe

    /// A published event arrives.
    func roundTrip(_ transport: Transport) async -> Check {
        let name = "round trip \(transport.rawValue)"
        return await self.checking(name, transport) {
            let cursor = transport == .lp ? try await self.probe.cursor() : nil
            let text = UUID().uuidString
            let published = PublishInstant()
            let received = try await self.probe.collect(1, by: transport, since: cursor) {
                await published.set(.now)
                try await self.probe.publish(text)
            }
            guard received[0].text == text else {
                return .fail(name, "another event came than was published", do: "Report this: events must arrive as they were published.")
            }
            let latency = await received[0].at - published.instant
            guard latency < .milliseconds(200) else {
                return .warn(
                    name, "\(Readable.milliseconds(latency)) from publish to receipt", do: "See whether the node's machine or the network is overloaded.")
            }
            return .ok(name, "\(Readable.milliseconds(latency)) from publish to receipt")
        }
    }

    /// A subscription after the first of three events gets exactly the other two, and then new events.
    func resume(_ transport: Transport) async -> Check {
        let name = "resume \(transport.rawValue)"
        return await self.checking(name, transport) {
            let texts = (0..<4).map { "\($0)-\(UUID().uuidString)" }
            let cursor = transport == .lp ? try await self.probe.cursor() : nil
            let first = try await self.probe.collect(3, by: transport, since: cursor) {
                for text in texts.prefix(3) { try await self.probe.publish(text) }
            }
            let second = try await self.probe.collect(3, by: transport, since: first[0].cursor) { try await self.probe.publish(texts[3]) }
            guard first.map(\.text) == Array(texts[..<3]), second.map(\.text) == Array(texts[1...]) else {
                return .fail(
                    name, "3 events were published and the connection resumed after the first, but not exactly the other two came",
                    do: "Report this: a resume must be exact.")
            }
            return .ok(name, "after the first of 3 events exactly the other 2 came, then the next")
        }
    }

    func badCursor() async -> Check {
        let name = "bad cursor"
        return await self.checking(name, .stream) {
            do {
                let subscription = Subscription(base: self.probe.subscriber, channels: [self.probe.channel], transport: .stream, http: self.probe.http)
                try await withTimeout(self.probe.timeout) { try await subscription.connect(since: "doctor") { _ in throw Probe.Collected() } }
                return .fail(name, "the connection ended", do: "See the node's log.")
            } catch is Failure {
                return .ok(name, "a cursor that no node gave out is refused")
            } catch is Probe.Collected {
                return .fail(name, "a cursor that no node gave out is accepted", do: "Report this: such a subscriber would miss events unknowingly.")
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
                return .fail(name, "one message id was published twice", do: "Check message-ids-max: 0 remembers none.")
            }
            return .ok(name, "a message id that was seen is not published again")
        }
    }

    /// All transports in parallel, because each may take 25 s.
    func heartbeats() async -> [Check] {
        await withTaskGroup(of: Check.self) { group in
            for transport in Transport.allCases {
                group.addTask {
                    let name = "heartbeat \(transport.rawValue)"
                    let start = ContinuousClock.now
                    return await self.checking(name, transport) {
                        try await self.probe.heartbeat(by: transport, within: .seconds(30))
                        return .ok(name, "came after \(Readable.duration(seconds: Int((ContinuousClock.now - start).seconds.rounded())))")
                    }
                }
            }
            var checks: [Check] = []
            for await check in group { checks.append(check) }
            return checks.sorted { $0.name < $1.name }
        }
    }

    private func checking(_ name: String, _ transport: Transport, _ body: () async throws -> Check) async -> Check {
        do {
            return try await body()
        } catch is TimedOut {
            return .fail(name, "nothing came in time", do: "If a proxy leads to --url, let it not buffer /\(transport.prefix)/; else see the node's log.")
        } catch is Probe.Forgotten {
            return .fail(
                name, "a gap came instead of the events that were just published",
                do: "Raise history-events-max, history-seconds-max or history-bytes-max: no subscriber can resume with so little history.")
        } catch let error as Disconnected {
            return .fail(name, error.reason, do: "If a proxy leads to --url, let it pass /\(transport.prefix)/; else see the node's log.")
        } catch {
            return .fail(name, "\(error)", do: "See the node's log.")
        }
    }
}

/// When the event was sent.
private actor PublishInstant {
    private(set) var instant = ContinuousClock.now

    func set(_ instant: ContinuousClock.Instant) {
        self.instant = instant
    }
}
