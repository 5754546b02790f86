import AsyncHTTPClient
import Foundation
import JSON
import SubscriberAPI
import TestKit
import Testing

@testable import Commands

@Suite struct DeliveryTests {
    @Test func readsEnvelopes() throws {
        let line = #"{"id":"c1","channel":"a","type":"t","data":{"n":1.0}}"#
        guard case .event(let envelope) = try #require(Delivery(json: line.utf8)) else { throw Unexpected() }
        #expect(envelope.cursor == "c1")
        #expect(envelope.channel == "a")
        #expect(envelope.type == "t")
        #expect(String(decoding: envelope.text, as: UTF8.self) == #"{"n":1.0}"#)
        #expect(String(decoding: envelope.line, as: UTF8.self) == line)
    }

    @Test func readsTextAndBytes() throws {
        guard case .event(let text) = try #require(Delivery(json: #"{"id":"c","channel":"a","data":"x\ny"}"#.utf8)) else { throw Unexpected() }
        #expect(String(decoding: text.text, as: UTF8.self) == "x\ny")
        #expect(text.type == nil)
        guard case .event(let bytes) = try #require(Delivery(json: #"{"id":"c","channel":"a","data_base64":"//4="}"#.utf8)) else { throw Unexpected() }
        #expect(bytes.text == [0xFF, 0xFE])
    }

    /// A payload may have the maximum depth that a node accepts. Its envelope is deeper. The response of a long-poll is still deeper, because its events are in
    /// an array.
    @Test func readsTheDeepestPayload() throws {
        let payload = String(repeating: "[", count: 128) + String(repeating: "]", count: 128)
        #expect(JSONValue.accepts(payload.utf8) && !JSONValue.accepts("[\(payload)]".utf8))
        let line = #"{"id":"c1","channel":"a","data":\#(payload)}"#
        guard case .event(let envelope) = try #require(Delivery(json: line.utf8)) else { throw Unexpected() }
        #expect(String(decoding: envelope.text, as: UTF8.self) == payload)
        var response = try #require(JSONObject(#"{"events":[\#(line)],"cursor":"c1"}"#.utf8))
        let event = try #require(response.take("events")?.elements?.first)
        #expect(Delivery(json: event.utf8) == .event(envelope))
    }

    @Test func readsGapsAndCursors() throws {
        let line = #"{"gap":{"channel":"a","from":"1-2","to":"1-9","reason":"expired"},"id":"c9"}"#
        guard case .gap(let gap) = try #require(Delivery(json: line.utf8)) else { throw Unexpected() }
        #expect(gap.cursor == "c9" && gap.channel == "a" && gap.from == "1-2" && gap.to == "1-9" && gap.reason == "expired")
        #expect(String(decoding: gap.line, as: UTF8.self) == line)
        #expect(Delivery(json: #"{"cursor":"c"}"#.utf8) == .cursor("c"))
    }

    @Test(arguments: [#"{"later":1}"#, "{}", "[]", "x", "", #"{"channel":"a","data":1}"#, #"{"id":"c","channel":"a"}"#, #"{"gap":{}}"#])
    func ignoresUnknownObjects(line: String) {
        #expect(Delivery(json: line.utf8) == nil)
    }

    @Test func eventStreamsDeliverTheSameItems() throws {
        var parser = EventStreamParser()
        let text = """
            retry: 2000
            id: c0

            : beat

            data: {"gap":{"channel":"a","from":"1-1","to":"1-2","reason":"reset"},"id":"c2"}
            id: c2

            id: c3
            data: {"id":"c3","channel":"a","type":"t","data":1}


            """
        let deliveries = parser.feed(text.utf8).compactMap(Subscription.delivery)
        #expect(deliveries.count == 5)
        #expect(deliveries[..<3] == [.retry(.seconds(2)), .cursor("c0"), .heartbeat])
        guard case .gap(let gap) = deliveries[3], case .event(let event) = deliveries[4] else { throw Unexpected() }
        #expect(gap.cursor == "c2" && gap.reason == "reset")
        #expect(event.cursor == "c3" && event.type == "t")
    }

    @Test func pathsAreEscaped() throws {
        var subscription = Subscription(
            base: try BaseURL(named: "--url", "http://h:1"), channels: ["a:b", "c d"], transport: .stream, http: .shared, backlog: nil)
        #expect(subscription.path(since: nil) == "/sub/a:b/c%20d")
        #expect(subscription.path(since: "x-_1") == "/sub/a:b/c%20d?since=x-_1")
        subscription.backlog = 3
        subscription.transport = .sse
        #expect(subscription.path(since: "c", query: ["envelope=1"]) == "/ev/a:b.b3/c%20d.b3?envelope=1&since=c")
    }

    /// On a terminal a payload is escaped. A pipe gets the payload unchanged.
    @Test func terminalsGetEscapedPayloads() throws {
        let json = #"{"id":"c","channel":"a","data":"x\u001b[2J\u202ey"}"#
        guard case .event(let envelope)? = Delivery(json: Array(json.utf8)) else {
            Issue.record("no event")
            return
        }
        for (isInteractive, details, expected) in [
            (true, false, "x\\u001b[2J\\u202ey\n"), (false, false, "x\u{1B}[2J\u{202E}y\n"), (true, true, "a\t-\tc\tx\\u001b[2J\\u202ey\n"),
        ] {
            let path = TemporaryFolder.path()
            let output = Terminal(descriptor: open(path, O_WRONLY | O_CREAT, 0o600), isInteractive: isInteractive, noColour: "1", kind: nil)
            defer { close(output.descriptor) }
            try DeliveryPrinter(format: .lines(details: details), output: output, notices: output).show(.event(envelope))
            #expect(try String(contentsOfFile: path, encoding: .utf8) == expected)
        }
    }

    @Test func cursorFilesKeepTheCursor() throws {
        let path = TemporaryFolder.path()
        let file = CursorFile(path: path)
        #expect(try file.load() == nil)
        try file.save("abc-_")
        #expect(try file.load() == "abc-_")
        // A start without a cursor would skip events without a message.
        for nothing in ["", "\n", " \r\n"] {
            try Data(nothing.utf8).write(to: URL(fileURLWithPath: path))
            let failure = #expect(throws: CommandError.self) { try file.load() }
            #expect(failure?.message.contains("is empty, so the last position is unknown") == true)
        }
        try Data("abc def\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: CommandError.self) { try file.load() }
        try Data("ü".utf8).write(to: URL(fileURLWithPath: path))
        #expect(throws: CommandError.self) { try file.load() }
        #expect(throws: CommandError.self) { try CursorFile(path: "/nowhere/at/all").save("x") }
    }
}

struct Unexpected: Error {}
