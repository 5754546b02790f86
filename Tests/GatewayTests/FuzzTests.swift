import Foundation
import JSON
import NIOCore
import TestKit
import Testing

@testable import Gateway
@testable import Pipeline

/// Fuzzes all code that reads bytes of clients, with mutations of valid input. `REALERTIME_FUZZ_ITERATIONS` sets the number of inputs, and
/// `REALERTIME_FUZZ_SEED` sets the seed.
@Suite struct FuzzTests {
    static let iterations = ProcessInfo.processInfo.environment["REALERTIME_FUZZ_ITERATIONS"].flatMap { Int($0) } ?? 2000
    static let seed = ProcessInfo.processInfo.environment["REALERTIME_FUZZ_SEED"].flatMap { UInt64($0) } ?? 1

    private func fuzz(_ corpus: [[UInt8]], _ tokens: [String], _ body: (inout SplitMix, [UInt8], Comment) -> Void) {
        var random = SplitMix(seed: Self.seed)
        for iteration in 0..<Self.iterations {
            let bytes = random.below(20) == 0 ? random.bytes(upTo: 80) : random.mutate(corpus.randomElement(using: &random)!, with: tokens)
            body(&random, bytes, "seed \(Self.seed), iteration \(iteration): \(bytes)")
        }
    }

    @Test func piecesOfHTTPAreReadLikeTheWhole() {
        let corpus = HTTPRequestParserTests.valid.map { Array($0.utf8) }
        self.fuzz(corpus, HTTPRequestParserTests.tokens) { random, bytes, at in
            let whole = read([bytes])
            checkUnambiguous(whole, at)
            let pieces = read(random.pieces(bytes))
            checkUnambiguous(pieces, at)
            // Only empty lines before a request may be read differently if the bytes arrive in pieces.
            if !bytes.starts(with: [0x0D, 0x0A]), !whole.contains(.failure(400)) { #expect(pieces == whole, at) }
        }
    }

    @Test func piecesOfWebSocketFramesAreReadLikeTheWhole() {
        self.fuzz(WebSocketTests.streams.map(\.0), ["\u{81}", "\0", "~", "\u{7F}"]) { random, bytes, at in
            #expect(WebSocketTests.steps(random.pieces(bytes)) == WebSocketTests.steps([bytes]), at)
        }
    }

    @Test func everyAcceptedCursorIsWrittenUnchanged() {
        let corpus = (1...8 as ClosedRange<UInt64>).map { count in
            Array(Cursor(entries: (0..<count).map { .init(channel: UInt32($0), position: Position(epoch: 1, offset: $0 << (7 * count))) }).text.utf8)
        }
        self.fuzz(corpus, ["A", "_", "=", "AAAA"]) { _, bytes, at in
            let text = String(decoding: bytes, as: UTF8.self)
            if let cursor = Cursor(text) { #expect(cursor.text == text, at) }
            _ = Position(text)
        }
    }

    @Test func everyAcceptedPublishIsValidJSON() {
        let corpus = [
            #"{"commands":[{"publish":{"channel":"a","data":{"x":[1,2,"\u00e9"]}}},{"broadcast":{"channels":["b","c"],"data":2,"type":"t"}}]}"#,
            #"{"channel":"a","data":"x","type":"t","idempotency_key":"k"}"#, #"{"channels":["a","b"],"data":null}"#,
            #"{"channel":"a","limit":10,"since":"1-5"}"#,
        ].map { Array($0.utf8) }
        self.fuzz(corpus, ["\"", "\\u", "{", "}", "[", "]", ",", ":", "\\ud800", "null", "-", "\n", "é"]) { _, bytes, at in
            let buffer = ByteBuffer(bytes: bytes)
            if let event = try? PublishRequest.publish(buffer, limits: Limits()) {
                #expect(event.payload.withUnsafeReadableBytes { JSONScanner.isValue($0).valid }, at)
                #expect((try? JSONSerialization.jsonObject(with: Data(bytes))) != nil || String(decoding: bytes, as: UTF8.self).contains("\\u"), at)
            }
            _ = try? PublishRequest.broadcast(buffer, limits: Limits())
            _ = try? HistoryQuery(buffer)
            if let batch = try? BatchRequest(buffer, limits: Limits()) {
                let answer = batch.response(batch.events.map { _ in .published(Position(epoch: 1, offset: 1), subscribers: 0) })
                #expect((try? JSONSerialization.jsonObject(with: Data(answer.readableBytesView))) != nil, at)
            }
        }
    }

    @Test func acceptedSubscribeRequestsHaveDistinctChannels() {
        let corpus = ["/ev/a/b.b5?since=AQ", "/ws/a%2e.b3/x:y", "/lp/a?envelope=1&since=x", "/sub/a/b/c/d/e"].map { Array($0.utf8) }
        self.fuzz(corpus, ["/", "%", ".b", ".b9", "?", "&", "since=", "%2F", "%zz", "..", "=", "99999999999999999999"]) { _, bytes, at in
            guard let head = try? head(String(decoding: bytes, as: UTF8.self)), let (transport, channels) = SubscribeRequest.transport(of: head.path),
                let request = try? SubscribeRequest(transport, channels: channels, head: head, limits: Limits())
            else { return }
            #expect(!request.channels.isEmpty && Set(request.channels.map(\.channel)).count == request.channels.count, at)
        }
    }
}
