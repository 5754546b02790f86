import NIOCore
import PipelineTestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite(.timeLimit(.minutes(1))) struct APIPublishingTests {
    private func publish(_ channel: String = "c", id: String? = nil, body: String = "x") -> String {
        "POST /pub?id=\(channel) HTTP/1.1\r\nHost: h\r\n\(id.map { "Message-Id: \($0)\r\n" } ?? "")Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func call(_ path: String, _ body: String) -> String {
        "POST \(path) HTTP/1.1\r\nHost: h\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    private func fail(_ bench: Bench, times: Int = 1) async throws {
        try await bench.run { bench.log.appendFaults = Array(repeating: .failing("the disk is full"), count: times) }
    }

    // MARK: - A log that cannot be written

    @Test func aPublishThatTheLogRefusesGets503() async throws {
        let bench = try await Bench()
        try await self.fail(bench)
        let client = try await bench.api(self.publish())
        #expect(try await client.statuses == [503])
        #expect(try await client.text.contains("Retry-After: "))
        #expect(try await client.text.hasSuffix("{\"error\":{\"code\":\"unavailable\",\"message\":\"the disk is full\"}}"))
        #expect(try await !client.isOutputClosed)
    }

    @Test func aRefusedPublishIsAcceptedLaterWithTheSameID() async throws {
        let bench = try await Bench()
        try await self.fail(bench)
        let client = try await bench.api(self.publish(id: "m"))
        #expect(try await client.statuses == [503])
        try await client.send(self.publish(id: "m"))
        let answer = "{\"channel\":\"c\",\"id\":\"1-1\",\"cursor\":\"\(cursor("c", 1, 1))\",\"subscribers\":0"
        #expect(try await client.text.hasSuffix(answer + "}"))
        try await client.send(self.publish(id: "m"))
        #expect(try await client.text.hasSuffix(answer + ",\"duplicate\":true}"))
        #expect(try await bench.stored("c") == ["x"])
    }

    @Test(arguments: [
        ("/api/publish", "{\"channel\":\"c\",\"data\":1}"), ("/api/broadcast", "{\"channels\":[\"c\",\"d\"],\"data\":1}"), ("/pub?id=c/d", "x"),
    ])
    func everyPublishCallGets503IfTheLogRefuses(_ path: String, _ body: String) async throws {
        let bench = try await Bench()
        try await self.fail(bench)
        let client = try await bench.api(self.call(path, body))
        #expect(try await client.statuses == [503])
        #expect(try await client.text.contains("Retry-After: "))
        try await client.send(self.call(path, body))
        #expect(try await client.statuses == [503, 200])
    }

    @Test func aBatchReportsFailuresInItsBody() async throws {
        let bench = try await Bench()
        try await self.fail(bench)
        let client = try await bench.api(self.call("/api/batch", "{\"commands\":[{\"publish\":{\"channel\":\"c\",\"data\":1}}]}"))
        #expect(try await client.statuses == [200])
        #expect(try await client.text.contains("the disk is full"))
    }

    @Test func aFailedAppendFailsOnlyItsOwnPublish() async throws {
        let bench = try await Bench()
        try await self.fail(bench)
        let client = try await bench.api(self.publish(body: "a"))
        let other = try await bench.api(self.publish(body: "b"))
        #expect(try await client.statuses == [503])
        #expect(try await other.statuses == [200])
        #expect(try await bench.stored("c") == ["b"])
    }

    // MARK: - Bounds

    @Test func aPublishAboveTheChannelLimitGets429() async throws {
        let bench = try await Bench { $0.channelsMax = 1 }
        let client = try await bench.api(self.publish("a") + self.publish("b") + self.publish("a"))
        #expect(try await client.statuses == [200, 429, 200])
        #expect(try await client.text.contains("{\"error\":{\"code\":\"limit\",\"message\":\"channel limit reached (channels-max)"))
    }

    @Test func aBroadcastIsCommittedToTheChannelsWithinTheLimit() async throws {
        let bench = try await Bench { $0.channelsMax = 1 }
        let client = try await bench.api(self.call("/api/broadcast", "{\"channels\":[\"a\",\"b\"],\"data\":1}"))
        #expect(try await client.statuses == [429])
        let first = "{\"result\":{\"epoch\":1,\"offset\":1,\"cursor\":\"\(cursor("a", 1, 1))\"}}"
        #expect(try await client.text.contains("{\"result\":{\"responses\":[\(first),{\"error\":{\"code\":\"limit\""))
        #expect(try await bench.stored("a") == ["1"])
    }

    @Test func publishesThatWaitForTheLogAreBounded() async throws {
        let bench = try await Bench { $0.parkedPublishesMax = 1 }
        try await bench.run { bench.log.appendFaults = [.wait] }
        let first = try await bench.api(self.publish(body: "a"))
        let second = try await bench.api(self.publish(body: "b"))
        let third = try await bench.api(self.publish(body: "c"))
        #expect(try await first.statuses + second.statuses == [])
        #expect(try await third.statuses == [503])
        #expect(try await third.text.contains("parked-publishes-max"))
        await bench.log.release()
        #expect(try await first.statuses + second.statuses == [200, 200])
        #expect(try await bench.stored("c") == ["a", "b"])
    }

    @Test func aStoppingNodeRefusesPublishes() async throws {
        let bench = try await Bench()
        await bench.sequencers.stop(deadline: .now)
        let client = try await bench.api(self.publish())
        #expect(try await client.statuses == [503])
        #expect(try await client.text.contains("node is stopping"))
    }

    // MARK: - Subscribers

    @Test func aResponseCountsTheSubscribers() async throws {
        let bench = try await Bench()
        let subscriber = try await bench.subscribe("GET /ev/c HTTP/1.0\r\n\r\n")
        let client = try await bench.api(self.publish())
        #expect(try await client.text.hasSuffix("\"subscribers\":1}"))
        try await subscriber.disappear()
        try await client.send(self.publish())
        #expect(try await client.text.hasSuffix("\"subscribers\":0}"))
    }
}
