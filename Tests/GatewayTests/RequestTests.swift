import Foundation
import NIOCore
import Testing

@testable import Gateway
@testable import Pipeline

@Suite struct RequestTests {
    private func subscribe(_ target: String, _ fields: [String] = [], version: String = "1.1", limits: Limits = Limits()) throws -> SubscribeRequest {
        let head = try head(target, fields, version: version)
        let (transport, channels) = try #require(SubscribeRequest.transport(of: head.path))
        return try SubscribeRequest(transport, channels: channels, head: head, limits: limits)
    }

    private static func cursor(_ entries: (String, Position)...) -> String {
        Cursor(entries: entries.map { .init(channel: UInt32(truncatingIfNeeded: ChannelName($0.0)!.hash64), position: $0.1) }).text
    }

    @Test(arguments: [
        ("/ev/a", "1.1", Framing.sseChunked), ("/ev/a", "1.0", .sse), ("/ev/a?envelope=1", "1.1", .sseEnvelopeChunked), ("/ev/a?envelope=0", "1.0", .sse),
        ("/ws/a", "1.1", .webSocket), ("/lp/a", "1.1", .element), ("/sub/a", "1.1", .lineChunked), ("/sub/a", "1.0", .line),
    ])
    func theFramingDependsOnTransportAndVersion(_ target: String, _ version: String, _ framing: Framing) throws {
        #expect(try self.subscribe(target, version: version).framing == framing)
    }

    @Test func eachChannelStartsAtCursorBacklogOrLive() throws {
        let cursor = Self.cursor(("a", Position(epoch: 1, offset: 7)), ("z", Position(epoch: 2, offset: 1)))
        let request = try self.subscribe("/ev/b/a.b5/c.b3/d%2ee.b9999999?since=\(cursor)")
        #expect(request.channels.map(\.channel.string) == ["b", "a", "c", "d.e"])
        #expect(request.channels.map(\.start) == [.live, .after(Position(epoch: 1, offset: 7)), .backlog(3), .backlog(1000)])
        #expect(request.resumes)
        #expect(try !self.subscribe("/ev/a").resumes)
        // A header takes precedence over the query. An empty header does not.
        let other = Self.cursor(("a", Position(epoch: 9, offset: 9)))
        #expect(try self.subscribe("/ev/a?since=\(cursor)", ["Last-Event-ID: \(other)"]).channels[0].start == .after(Position(epoch: 9, offset: 9)))
        #expect(try self.subscribe("/ev/a?since=\(cursor)", ["Last-Event-ID:"]).channels[0].start == .after(Position(epoch: 1, offset: 7)))
    }

    @Test(
        arguments: [
            ("/ev/a?since=1-7", []), ("/ev/a?lastEventId=1-7", []), ("/ev/a?evs_last_event_id=1-7&since=1-1", []), ("/ev/a?since=1-1&lastEventId=1-7", []),
            ("/ev/a?lastEventId=&since=1-7", []), ("/ev/a?lastEventId=1-1&since=1-1", ["Last-Event-ID: 1-7"]), ("/ev/a.b5?since=1-7", []),
        ] as [(String, [String])])
    func aPositionResumesASingleChannel(_ target: String, _ fields: [String]) throws {
        let request = try self.subscribe(target, fields)
        #expect(request.channels.map(\.start) == [.after(Position(epoch: 1, offset: 7))] && request.resumes)
    }

    @Test(arguments: [
        ("/ev/", "400 bad_channel"), ("/ev/a/", "400 bad_channel"), ("/ev//a", "400 bad_channel"), ("/ev/a/a", "400 bad_channel"),
        ("/ev/a/a.b5", "400 bad_channel"),
        ("/ev/a%20b", "400 bad_channel"), ("/ev/%zz", "400 bad_channel"), ("/ev/%ff", "400 bad_channel"), ("/ev/a.b99999999999999999999", "400 bad_channel"),
        ("/ev/.b5", "400 bad_channel"), ("/ev/a.b1.b2", "400 bad_channel"), ("/ev/1/2/3/4", "400 bad_channel"), ("/ev/a?since=x", "400 bad_cursor"),
        ("/ev/a?since=", "400 bad_cursor"), ("/ev/a?since=%zz", "400 bad_request"), ("/ev/a?envelope=2", "400 bad_request"),
        ("/ev/b?since=" + cursor(("a", Position(epoch: 1, offset: 1))), "400 bad_cursor"),
        ("/ev/a?since=" + cursor(("a", Position(epoch: 1, offset: 1))).dropLast(), "400 bad_cursor"),
        ("/ev/a/b?since=1-7", "400 bad_cursor"), ("/ev/a?since=1-07", "400 bad_cursor"), ("/ev/a?since=1", "400 bad_cursor"),
        ("/ev/a?since=1-7&since=1-7", "400 bad_request"), ("/ev/a?envelope=1&envelope=1", "400 bad_request"),
    ])
    func invalidSubscribeRequestsAreRefused(_ target: String, _ expected: String) {
        var limits = Limits()
        limits.channelsPerConnectionMax = 3
        #expect(failure { _ = try self.subscribe(target, limits: limits) } == expected)
    }

    // MARK: - Publishing

    private func raw(_ target: String, _ fields: [String] = [], body: String = "x", limits: Limits = Limits()) throws -> [Event] {
        try PublishRequest.raw(Request(head: try head(target, fields, method: "POST"), body: ByteBuffer(string: body)), limits: limits)
    }

    @Test func rawPublishesReadQueryAndHeaders() throws {
        let events = try self.raw("/pub?id=a%2Fb", ["Event-Type: é", "Message-Id: m"], body: "hi")
        #expect(events.map(\.channel.string) == ["a", "b"])
        #expect(events.allSatisfy { $0.type == "é" && $0.messageID == "m" && $0.payload == ByteBuffer(string: "hi") })
        let plain = try self.raw("/pub?id=a", ["Event-Type:", "Message-Id:"])
        #expect(plain[0].type == nil && plain[0].messageID == nil)
    }

    @Test(
        arguments: [
            ("/pub", [], "x", "400 bad_channel"), ("/pub?id=", [], "x", "400 bad_channel"), ("/pub?id=a/a", [], "x", "400 bad_channel"),
            ("/pub?id=a/", [], "x", "400 bad_channel"), ("/pub?id=a.b5", [], "x", "400 bad_channel"), ("/pub?id=a", [], "", "400 bad_body"),
            ("/pub?id=a", ["Event-Type: gap"], "x", "400 bad_body"), ("/pub?id=a", ["Event-Type: a", "Event-Type: b"], "x", "400 bad_request"),
            ("/pub?id=a&id=b", [], "x", "400 bad_request"), ("/pub?id=a&id=a", [], "x", "400 bad_request"),
            ("/pub?id=a", ["Message-Id: " + String(repeating: "m", count: 201)], "x", "400 bad_body"),
            ("/pub?id=a", ["Event-Type: a\tb"], "x", "400 bad_body"), ("/pub?id=a", [], String(repeating: "x", count: 101), "413 too_large"),
            ("/pub?id=a/b/c/d", [], "x", "400 bad_channel"),
        ] as [(String, [String], String, String)])
    func invalidRawPublishesAreRefused(_ target: String, _ fields: [String], _ body: String, _ expected: String) {
        var limits = Limits()
        limits.eventBytesMax = 100
        limits.channelsPerConnectionMax = 3
        #expect(failure { _ = try self.raw(target, fields, body: body, limits: limits) } == expected)
    }

    @Test(arguments: ["{\"x\": [1, 2.50]}", "null", "\"\"", "1e400", "[ ]"])
    func jsonPublishesKeepTheirDataUnchanged(_ data: String) throws {
        let event = try PublishRequest.publish(
            ByteBuffer(string: " {\"data\" : \(data) ,\"channel\":\"\\u0061\",\"type\":null,\"idempotency_key\":\"k\"} "), limits: Limits())
        #expect(event.payload == ByteBuffer(string: data))
        #expect(event.channel.string == "a" && event.type == nil && event.messageID == "k")
    }

    @Test(arguments: [
        ("", "400 bad_body"), ("[]", "400 bad_body"), ("{}", "400 bad_body"), ("{\"channel\":\"a\"}", "400 bad_body"), ("{\"data\":1}", "400 bad_body"),
        ("{\"channel\":1,\"data\":1}", "400 bad_body"), ("{\"channel\":\"a b\",\"data\":1}", "400 bad_channel"),
        ("{\"channel\":\"a\",\"data\":1,\"idempotencykey\":\"k\"}", "400 bad_body"), ("{\"channel\":\"a\",\"channel\":\"b\",\"data\":1}", "400 bad_body"),
        ("{\"channel\":\"a\",\"data\":1} x", "400 bad_body"), ("{\"channel\":\"a\",\"data\":}", "400 bad_body"),
        ("{\"channel\":\"a\",\"data\":1,\"type\":\"gap\"}", "400 bad_body"), ("{\"channel\":\"a\",\"data\":1,\"type\":\"a\\nb\"}", "400 bad_body"),
        ("{\"channel\":\"a\",\"data\":1,\"type\":\"\\ud800\"}", "400 bad_body"),
    ])
    func invalidPublishesAreRefused(_ body: String, _ expected: String) {
        #expect(failure { _ = try PublishRequest.publish(ByteBuffer(string: body), limits: Limits()) } == expected)
    }

    @Test(
        arguments: [
            ("{\"channels\":[],\"data\":1}", "400 bad_channel"), ("{\"channels\":[\"a\",\"a\"],\"data\":1}", "400 bad_channel"),
            ("{\"channels\":\"a\",\"data\":1}", "400 bad_body"),
            ("{\"channels\":[1],\"data\":1}", "400 bad_body"), ("{\"channels\":[\"a\",\"b\"],\"data\":1}", nil),
        ] as [(String, String?)])
    func invalidBroadcastsAreRefused(_ body: String, _ expected: String?) {
        var names = ["a", "b"]
        #expect(failure { names = try PublishRequest.broadcast(ByteBuffer(string: body), limits: Limits()).map(\.channel.string) } == expected)
        #expect(names == ["a", "b"])
    }

    @Test func batchRepliesKeepTheOrderOfCommands() throws {
        let body =
            #"{"commands":[{"publish":{"channel":"a","data":1}},{"nothing":1},{"broadcast":{"channels":["b","c"],"data":2}},{"publish":{"channel":"a b","data":1}},{"publish":{"channel":"d","data":1}}]}"#
        let request = try BatchRequest(ByteBuffer(string: body), limits: Limits())
        #expect(request.events.map(\.channel.string) == ["a", "b", "c", "d"])
        let answer = request.response([
            .published(Position(epoch: 1, offset: 7), subscribers: 3), .duplicate(Position(epoch: 1, offset: 2), subscribers: 0), .refused(.overloaded),
            .refused(.stopping),
        ])
        let json = try JSONSerialization.jsonObject(with: Data(answer.readableBytesView)) as? [String: [[String: Any]]]
        let replies = try #require(json?["replies"])
        #expect(replies.map { $0.keys.first } == ["publish", "error", "broadcast", "error", "error"])
        let published = try #require(replies[0]["publish"] as? [String: Any])
        #expect(published["epoch"] as? Int == 1 && published["offset"] as? Int == 7)
        #expect(published["cursor"] as? String == Self.cursor(("a", Position(epoch: 1, offset: 7))))
        let responses = (replies[2]["broadcast"] as? [String: Any])?["responses"] as? [[String: [String: Any]]]
        #expect(responses?[0]["result"]?["cursor"] as? String == Self.cursor(("b", Position(epoch: 1, offset: 2))))
        #expect(((replies[2]["broadcast"] as? [String: Any])?["responses"] as? [[String: Any]])?.map { $0.keys.first } == ["result", "error"])
        #expect(failure { _ = try BatchRequest(ByteBuffer(string: "{\"commands\":1}"), limits: Limits()) } == "400 bad_body")
    }

    /// Reading ends at the first unknown name. Nothing after that name is read.
    @Test func readingStopsAtTheFirstUnknownField() {
        let names = (0..<200_000).map { "\"\($0)\":1" }.joined(separator: ",")
        for body in ["{\(names)}", "{\"0\":1, and this is not JSON"] {
            do throws(HTTPError) {
                _ = try JSONFields(ByteBuffer(string: body), names: ["a"])
                Issue.record("not refused")
            } catch {
                #expect(error.status == .badRequest && error.code == "bad_body" && error.message.contains("the field \"0\" is unknown"))
            }
        }
    }

    @Test func responsesHaveOneConnectionHeader() {
        for (keepAlive, expected) in [(true, "keep-alive"), (false, "close")] {
            var answer = ByteBuffer()
            ResponseWriter.write(.ok, content: .text, body: ByteBuffer(string: "ok\n"), keepAlive: keepAlive, into: &answer)
            let lines = String(buffer: answer).split(separator: "\r\n")
            #expect(lines.filter { $0.hasPrefix("Connection:") } == ["Connection: \(expected)"])
            answer.clear()
            ResponseWriter.write(.badBody("x"), keepAlive: keepAlive, omitBody: true, into: &answer)
            #expect(String(buffer: answer).hasSuffix("\r\n\r\n"))
        }
    }

    @Test func jsonFieldsAreReadByType() throws {
        let fields = try JSONFields(ByteBuffer(string: #"{"a":5,"b":true,"c":"x\ny","d":[1,"]",{}],"e":null,"f":-0}"#), names: ["a", "b", "c", "d", "e", "f"])
        #expect(try fields.integer("a", in: 0...5) == 5)
        #expect(try fields.integer("f", in: 0...5) == 0)
        #expect(failure { _ = try fields.integer("a", in: 0...4) } == "400 bad_body")
        #expect(failure { _ = try fields.integer("b", in: 0...4) } == "400 bad_body")
        #expect(try fields.boolean("b") == true)
        #expect(failure { _ = try fields.boolean("a") } == "400 bad_body")
        #expect(try fields.string("c") == "x\ny")
        #expect(failure { _ = try fields.string("a") } == "400 bad_body")
        #expect(try fields.array("d")?.map { String(buffer: $0) } == ["1", "\"]\"", "{}"])
        #expect(failure { _ = try fields.array("c") } == "400 bad_body")
        #expect(try fields.string("e") == nil && fields.raw("e") == ByteBuffer(string: "null"))
        #expect(failure { _ = try JSONFields(ByteBuffer(bytes: [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D]), names: ["a"]) } == "400 bad_body")
    }

    @Test func originsDecideTheCORSHeaders() throws {
        let some = Origins(["https://Example.com"])
        #expect(some.allows("HTTPS://example.com") && !some.allows("https://example.com.evil") && !some.allows("null"))
        let asked = try head("/", ["Origin: https://example.com"])
        let listed = "Access-Control-Allow-Origin: https://example.com\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"
        #expect(some.headers(for: asked) == listed)
        #expect(Origins(["*"]).headers(for: asked) == "Access-Control-Allow-Origin: *\r\n")
        #expect(Origins(["*", "https://example.com"]).headers(for: asked) == listed)
        #expect(some.preflightHeaders(for: asked, methods: "GET").contains("Cache-Control"))
        #expect(Origins([]).headers(for: asked).isEmpty && Origins([]).preflightHeaders(for: asked, methods: "GET").isEmpty)
        #expect(some.headers(for: try head("/")).isEmpty)
        #expect(Origins.isSame("http://h:1", as: asked) && Origins.isSame("https://H:1", as: asked))
        for other in ["http://h:2", "http://h", "null", "", "h:1", "http:h:1"] { #expect(!Origins.isSame(other, as: asked), "\(other)") }
    }

    @Test(arguments: [
        ("https://h:443", "https://h"), ("http://h:80", "http://h"), ("HTTPS://H", "https://h:443"), ("http://[::1]:80", "http://[::1]"),
    ])
    func theDefaultPortMayBeOmitted(_ one: String, _ other: String) {
        #expect(Origins([one]).allows(other) && Origins([other]).allows(one))
    }

    @Test(arguments: [("http://h:443", "http://h"), ("https://h:80", "https://h"), ("https://h:443", "http://h"), ("https://h:4430", "https://h")])
    func anotherPortIsAnotherOrigin(_ one: String, _ other: String) {
        #expect(!Origins([one]).allows(other) && !Origins([other]).allows(one))
    }

    @Test func refusedOriginsAreLoggedOnceAndBounded() {
        var refused = RefusedOrigins()
        let first = refused.sentence(for: "https://a.example")
        #expect(first?.contains("https://a.example") == true)
        let again = refused.sentence(for: "https://a.example")
        #expect(again == nil)
        let odd = refused.sentence(for: "https://b\u{1B}[2J\u{202E}" + String(repeating: "x", count: 9000)) ?? "\u{0}"
        #expect(odd.utf8.count < 300 && odd.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
        let sentences = (0..<500).compactMap { refused.sentence(for: "https://\($0).example") }
        #expect(sentences.count == FixedLimits.loggedOriginsMax - 2)
        #expect(sentences.last?.contains("only counted") == true && sentences.dropLast().allSatisfy { !$0.contains("only counted") })
    }

    @Test(arguments: [
        ("text/event-stream", true), ("*/*", false), ("text/html, Text/Event-Stream ;q=0.5", true), ("text/event-streams", false), ("text/*", false),
        ("", false),
    ])
    func acceptMatchesOnlyTheExactMediaType(_ accept: String, _ expected: Bool) throws {
        #expect(try head("/", ["Accept: \(accept)"]).accepts("text/event-stream") == expected)
    }
}
