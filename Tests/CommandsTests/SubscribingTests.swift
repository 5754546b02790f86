import AsyncHTTPClient
import Foundation
import NIOCore
import SubscriberAPI
import TestKit
import Testing

@testable import Commands

/// Subscribes to a node that closes its connections.
@Suite struct SubscribingTests {
    private static func event(_ number: Int) -> String { #"{"id":"c\#(number)","channel":"a","data":\#(number)}"# }

    /// A node's output on a connection that begins after `cursor`: at most two events, then the end.
    private static func reply(_ request: FakeNode.Request) -> FakeNode.Reply {
        let since = request.uri.firstRange(of: "since=c").map { Int(request.uri[$0.upperBound...].prefix { $0.isNumber }) ?? 0 }
        let first = (since ?? 0) + 1
        let events = [first, first + 1].map(self.event)
        let hello = #"{"cursor":"c\#(first - 1)"}"#
        switch request.path.split(separator: "/").first {
        case "healthz":
            return .response(200, "ok")
        case "ev":
            return .stream(["retry: 1\nid: c\(first - 1)\n\n"] + events.flatMap { ["id: x\nda", "ta: \($0)\r\n", "\n: beat\n"] })
        case "sub":
            return .stream([hello + "\n\n"] + events.flatMap { [String($0.prefix(9)), String($0.dropFirst(9)) + "\n"] } + ["{\"broken\":"])
        case "lp":
            return .response(200, #"{"events":[\#(events.joined(separator: ","))],"cursor":"c\#(first + 1)"}"#)
        case "ws":
            return .webSocket([hello, #"{"unknown":1}"#] + events, close: 1001)
        default:
            return .response(404, #"{"error":{"code":"not_found","message":"no"}}"#)
        }
    }

    private func follow(_ transport: Transport, at url: String, max: Int?, cursorFile: CursorFile? = nil, since: String? = nil) async throws -> String {
        let path = TemporaryFolder.path()
        let output = Terminal(descriptor: open(path, O_WRONLY | O_CREAT, 0o600), isInteractive: false, noColour: nil, kind: nil)
        let quiet = Terminal(descriptor: open("/dev/null", O_WRONLY), isInteractive: false, noColour: nil, kind: nil)
        defer {
            close(output.descriptor)
            close(quiet.descriptor)
        }
        try await withHTTPClient { http in
            let subscriber = Subscriber(
                subscription: Subscription(base: try BaseURL(named: "--url", url), channels: ["a"], transport: transport, http: http), since: since,
                printer: DeliveryPrinter(format: .lines(details: false), output: output, notices: quiet), cursorFile: cursorFile, eventsMax: max)
            try await withTimeout(.seconds(20)) { try await subscriber.run() }
        }
        return try String(contentsOfFile: path, encoding: .utf8)
    }

    @Test(arguments: Transport.allCases)
    func reconnectsFromTheLastCursor(transport: Transport) async throws {
        try await FakeNode.run(SubscribingTests.reply) { node in
            let shown1 = try await follow(transport, at: node.url, max: 5)
            #expect(shown1 == "1\n2\n3\n4\n5\n")
            let since = node.requests.filter { $0.path.hasSuffix("/a") }.map { $0.uri.split(separator: "since=").dropFirst().first.map(String.init) }
            #expect(since == [nil, "c2", "c4"])
        }
    }

    @Test func theNextRunResumesAfterTheLastEvent() async throws {
        let path = TemporaryFolder.path()
        let file = CursorFile(path: path)
        try await FakeNode.run(SubscribingTests.reply) { node in
            let shown2 = try await follow(.stream, at: node.url, max: 3, cursorFile: file)
            #expect(shown2 == "1\n2\n3\n")
            #expect(try file.load() == "c3")
            let shown3 = try await follow(.webSocket, at: node.url, max: 2, cursorFile: file, since: file.load())
            #expect(shown3 == "4\n5\n")
            #expect(try file.load() == "c5")
        }
    }

    @Test(arguments: Transport.allCases)
    func aRefusalEndsTheSubscription(transport: Transport) async throws {
        let refusal = #"{"error":{"code":"bad_cursor","message":"no node gave out this cursor"}}"#
        try await FakeNode.run({ $0.path == "/healthz" ? .response(200, "ok") : .response(400, refusal) }) { node in
            let failure = await #expect(throws: CommandError.self) { _ = try await follow(transport, at: node.url, max: 1, since: "x") }
            #expect(failure?.status == .critical)
            #expect(failure?.message.contains("no node gave out this cursor") == true, "\(failure?.message ?? "")")
        }
    }

    @Test(arguments: Transport.allCases)
    func aBusyNodeIsRetried(transport: Transport) async throws {
        try await FakeNode.run({ request in
            if request.path == "/healthz" { return .response(200, "ok") }
            return SubscribingTests.reply(request)
        }) { node in
            let shown4 = try await follow(transport, at: node.url, max: 1)
            #expect(shown4 == "1\n")
        }
        await #expect(throws: TimeoutError.self) {
            try await FakeNode.run({ _ in .response(503, "{}", [("Retry-After", "1")]) }) { node in
                try await withTimeout(.milliseconds(600)) { _ = try await follow(transport, at: node.url, max: 1) }
            }
        }
    }

    @Test func closeCodesAreInterpretedAsTheProtocolDefines() {
        func closed(_ code: UInt16) -> any Error { Subscription.closed(.init(integer: code)) }
        for code in [1000, 1001, 1006, 1011, 1012] as [UInt16] { #expect(closed(code) is DisconnectedError, "\(code)") }
        for code in [1002, 1007, 1009] as [UInt16] { #expect(closed(code) is CommandError, "\(code)") }
        #expect((closed(1012) as? DisconnectedError)?.retryAfter != nil)
    }
}
