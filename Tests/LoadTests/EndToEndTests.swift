import Histogram
import Synchronization
import Testing

@testable import Load

/// Runs the load tool against a server with known faults.
@Suite(.serialized) struct EndToEndTests {
    private func measure(_ server: FakeServer, _ arguments: [String]) throws -> LoadReport {
        defer { server.stop() }
        let times = ["--warm-up", "0.2", "--duration", "0.6", "--drain", "1", "--settle", "0.1"]
        let settings = try LoadSettings.parsed(server.options + times + arguments)
        var coordinator = LoadCoordinator(settings: settings, limits: LocalLimits(descriptors: 10_000, ports: 28_000), showsProgress: false)
        return try coordinator.run()
    }

    private func expectAll(_ report: LoadReport, subscribers: UInt64) {
        let tally = report.tally
        #expect(report.isComplete, "\(report.table)")
        #expect(tally.connected == subscribers)
        #expect(tally.published > 100)
        #expect(tally.received == tally.expected && tally.expected > tally.published)
        #expect(tally.receivedInWindow == tally.expectedInWindow && tally.expectedInWindow > 0)
        #expect(tally.delivery.totalCount == tally.receivedInWindow)
        #expect(tally.errors.isEmpty)
    }

    @Test(arguments: [("sse", FakeServer.Wrapping.sse), ("ws", .webSocket), ("lp", .longPoll), ("stream", .chunked)])
    func everythingArrives(transport: String, wrapping: FakeServer.Wrapping) throws {
        let server = FakeServer(wrapping)
        let report = try self.measure(server, ["--transport", transport, "-n", "20", "-c", "4", "-r", "400", "--publishers", "3"])
        self.expectAll(report, subscribers: 20)
        if wrapping == .webSocket { #expect(server.pongs.load(ordering: .relaxed) == 20) }
    }

    @Test func severalChannelsOnOneConnection() throws {
        let report = try self.measure(FakeServer(.sse), ["-n", "10", "-c", "6", "--channels-per-subscriber", "4", "-r", "400"])
        self.expectAll(report, subscribers: 10)
    }

    @Test func aHotChannelWorksAtTheMaximumRate() throws {
        let report = try self.measure(FakeServer(.sse), ["-n", "10", "--hot", "-r", "max", "--publishers", "5"])
        self.expectAll(report, subscribers: 10)
    }

    @Test func lossesAreCounted() throws {
        let server = FakeServer(.sse, faults: .init(dropsEvery: 10))
        let report = try self.measure(server, ["-n", "20", "-c", "4", "-r", "400"])
        #expect(report.tally.lost == UInt64(server.dropped.load(ordering: .relaxed)))
        #expect(report.tally.lost > 0 && report.tally.repeated == 0 && report.tally.reordered == 0)
        #expect(!report.isComplete && report.table.contains("lost"))
    }

    @Test func repetitionsAreCounted() throws {
        let server = FakeServer(.webSocket, faults: .init(repeatsEvery: 7))
        let report = try self.measure(server, ["--transport", "ws", "-n", "20", "-c", "4", "-r", "400"])
        #expect(report.tally.repeated == UInt64(server.repeated.load(ordering: .relaxed)))
        #expect(report.tally.repeated > 0 && report.tally.lost == 0 && report.tally.reordered == 0)
        #expect(!report.isComplete)
    }

    @Test func reorderingsAreCounted() throws {
        let server = FakeServer(.sse, faults: .init(swapsEvery: 9))
        let report = try self.measure(server, ["-n", "5", "-c", "1", "-r", "400"])
        #expect(report.tally.reordered == UInt64(server.swapped.load(ordering: .relaxed)))
        #expect(report.tally.reordered > 0 && report.tally.repeated == 0)
        #expect(!report.isComplete)
    }

    /// A loss and a repetition cancel each other in totals. Here both must be counted.
    @Test func aLossAndARepetitionDoNotCancelOut() throws {
        let server = FakeServer(.sse, faults: .init(dropsEvery: 11, repeatsEvery: 12))
        let report = try self.measure(server, ["-n", "20", "-c", "4", "-r", "400"])
        #expect(report.tally.lost == UInt64(server.dropped.load(ordering: .relaxed)))
        #expect(report.tally.repeated == UInt64(server.repeated.load(ordering: .relaxed)))
        #expect(report.failures.count == 2)
    }

    /// After a 503 the event may or may not have been published. In both cases it counts as neither lost nor repeated.
    @Test func anUncertainPublishIsNotCountedAsLost() throws {
        let report = try self.measure(FakeServer(.sse, faults: .init(liesEvery: 20)), ["-n", "5", "-c", "2", "-r", "200"])
        #expect(report.isComplete, "\(report.table)")
        #expect(report.tally.publishFailed > 0 && report.tally.errors["publish: status 503"] == report.tally.publishFailed)
    }

    @Test func churnIsCounted() throws {
        let report = try self.measure(FakeServer(.sse), ["--churn", "300", "--churn-at-once", "20"])
        #expect(report.tally.churned == 300 && report.isComplete)
    }

    @Test func connectionsAreHeldWithoutPublishing() throws {
        let report = try self.measure(FakeServer(.sse), ["-n", "30", "-r", "0", "--hold", "0.2"])
        #expect(report.tally.connected == 30 && report.isComplete && report.tally.published == 0)
        #expect(report.json.hasPrefix("{") && report.json.hasSuffix("}"))
    }

    /// The servers do not forward events to each other, so the subscribers at the second server miss everything.
    @Test func subscribersAreSpreadOverSeveralServers() throws {
        let other = FakeServer(.sse)
        defer { other.stop() }
        let report = try self.measure(FakeServer(.sse), ["-n", "11", "-r", "200", "--subscribe-url", "http://127.0.0.1:\(other.port)/{channels}"])
        #expect(report.tally.connected == 11 && report.tally.published > 50)
        #expect(report.tally.received == 6 * report.tally.published && report.tally.lost == 5 * report.tally.published)
    }

    @Test func anUnreachableServerIsReported() throws {
        let settings = try LoadSettings.parsed(["--subscribe-url", "http://127.0.0.1:1/", "--publish-url", "http://127.0.0.1:1/"])
        var coordinator = LoadCoordinator(settings: settings, limits: LocalLimits(descriptors: 10_000, ports: 28_000), showsProgress: false)
        do {
            _ = try coordinator.run()
            Issue.record("the load tool reported a measurement without a server")
        } catch {
            #expect(error.code == .unreachable)
        }
    }
}
