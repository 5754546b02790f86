import Foundation
import NIOHTTP1
import Synchronization
import TestKit
import Testing

@testable import Commands

/// Publishes to a node that loses and refuses requests.
@Suite struct PublishingTests {
    private func lines(_ count: Int) -> String { (1...count).map { "line \($0)\n" }.joined() }

    /// Publishes text as `publish ch -` does, and returns the result.
    private func publish(_ text: String, to url: String, concurrency: Int = 4, retryTimeout: Duration = .seconds(10), json: Bool = false, token: String? = nil)
        async throws -> CommandStatus
    {
        let path = TemporaryFolder.path()
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let file = try #require(FileHandle(forReadingAtPath: path))
        defer { try? file.close() }
        return try await withHTTPClient { http in
            let node = NodeClient(base: try BaseURL(named: "--api", url), token: token, http: http, timeout: retryTimeout)
            let sender = PublishSender(node: node, channels: ["a", "b"], type: "t")
            let quiet = Terminal(descriptor: open("/dev/null", O_WRONLY), isInteractive: false, noColour: nil, kind: nil)
            let publisher = LinePublisher(sender: sender, concurrency: concurrency, retryTimeout: retryTimeout, wantsJSON: json, responses: nil, notices: quiet)
            defer { close(quiet.descriptor) }
            let status = try await publisher.run(StandardInput(descriptor: file.fileDescriptor))
            await sender.close()
            return status
        }
    }

    @Test func linesArriveInOrderOnOneConnection() async throws {
        try await FakeNode.run({ _ in .response(200, #"{"id":"1-1"}"#) }) { node in
            let status = try await publish(lines(50) + "\nlast", to: node.url, token: "secret")
            #expect(status == .ok)
            let requests = node.requests
            #expect(requests.map(\.body) == (1...50).map { "line \($0)" } + ["last"])
            #expect(requests.map(\.before) == Array(0..<51))
            #expect(Set(requests.map { $0.headers["message-id"].first }).count == 51)
            #expect(requests.allSatisfy { $0.uri == "/pub?id=a/b" && $0.headers["event-type"] == ["t"] && $0.headers["authorization"] == ["Bearer secret"] })
        }
    }

    @Test func eventsWithoutAResponseAreSentAgainWithTheSameID() async throws {
        // The node closes the connection at every seventh request, and refuses every fifth request temporarily.
        let count = Mutex(0)
        let accepted = Mutex<[String]>([])
        try await FakeNode.run({ request in
            let number = count.withLock {
                $0 += 1; return $0
            }
            if number.isMultiple(of: 7) { return .hangUp }
            if number.isMultiple(of: 5) { return .response(503, #"{"error":{"code":"unavailable","message":"m"}}"#) }
            accepted.withLock { $0.append(request.body) }
            return .response(200, #"{"id":"1-1"}"#)
        }) { node in
            let status = try await publish(lines(40), to: node.url, concurrency: 1)
            #expect(status == .ok)
            #expect(accepted.withLock { $0 } == (1...40).map { "line \($0)" })
            let ids = Dictionary(grouping: node.requests, by: \.body).mapValues { Set($0.map { $0.headers["message-id"] }) }
            #expect(ids.values.allSatisfy { $0.count == 1 })
        }
    }

    @Test func noEventIsLostWithManyInFlight() async throws {
        let count = Mutex(0)
        let accepted = Mutex<Set<String>>([])
        try await FakeNode.run({ request in
            let number = count.withLock {
                $0 += 1; return $0
            }
            if number.isMultiple(of: 13) { return .hangUp }
            accepted.withLock { _ = $0.insert(request.body) }
            return .response(200, #"{"id":"1-1"}"#)
        }) { node in
            let status = try await publish(lines(100), to: node.url, concurrency: 8)
            #expect(status == .ok)
            #expect(accepted.withLock { $0 } == Set((1...100).map { "line \($0)" }))
        }
    }

    @Test func refusedLinesAreCountedAndTheNextArePublished() async throws {
        try await FakeNode.run({ $0.body == "[2]" ? .response(413, "{}") : .response(200, "{}") }) { node in
            let status = try await publish("[1]\n[2]\nnonsense\n[4]\n", to: node.url, json: true)
            #expect(status == .degraded)
            #expect(node.requests.map(\.body) == ["[1]", "[2]", "[4]"])
        }
    }

    @Test func aWrongTokenStopsImmediately() async throws {
        try await FakeNode.run({ _ in .response(401, "{}") }) { node in
            let failure = await #expect(throws: CommandError.self) { try await publish(lines(100), to: node.url, concurrency: 2) }
            #expect(failure?.status == .critical)
            #expect(failure?.message.hasSuffix("Line 1 is the first line that was not published.") == true)
        }
    }

    @Test func anInterruptionReportsTheFirstUnpublishedLine() async throws {
        try await FakeNode.run({ _ in .response(200, "{}") }) { node in
            let publishing = Task { try await publish(lines(200_000), to: node.url) }
            try await eventually("20 lines are published") { node.requests.count >= 20 }
            publishing.cancel()
            let failure = await #expect(throws: CommandError.self) { try await publishing.value }
            #expect(failure?.status == .degraded)
            #expect(failure?.message == "Interrupted. Line \(node.requests.count + 1) is the first line that was not published.")
        }
    }

    @Test(arguments: ["http", "https"])
    func withoutAListenerPublishingStopsAfterTheRetryTimeout(scheme: String) async throws {
        let failure = await #expect(throws: CommandError.self) {
            try await publish("a\nb\nc\n", to: "\(scheme)://127.0.0.1:1", retryTimeout: .seconds(5))
        }
        #expect(failure?.status == .unreachable)
        #expect(failure?.message == "Cannot reach the node: connection refused. Line 1 is the first line that was not published.")
    }
}
