import Foundation
import NIOCore
import TestKit
import Testing

@testable import Gateway
@testable import Pipeline

@Suite struct HistoryQueryTests {
    /// The contents of a response.
    private struct Answer {
        var offsets: [Int]
        var isTruncated: Bool
        var gap: [String: String]?
    }

    private static let channel = ChannelName("a")!

    /// Queries a channel whose events have these sizes. The first `expired` events are no longer in history.
    private func ask(_ fields: String, _ sizes: [Int], expired: Int = 0, appended: Int = 0) async throws -> (Answer, ShelfLog) {
        let events = (sizes + [Int](repeating: 1, count: appended)).enumerated().map { index, size in
            SequencedEvent(
                event: Event(channel: Self.channel, payload: ByteBuffer(repeating: UInt8(ascii: "x"), count: size)),
                position: Position(epoch: 3, offset: UInt64(index + 1)), timestamp: 0)
        }
        let log = ShelfLog(events: Array(events.dropFirst(expired)))
        let query = try HistoryQuery(ByteBuffer(string: "{\"channel\":\"a\"\(fields)}"))
        let body = try await query.response(Position(epoch: 3, offset: UInt64(sizes.count)), log)
        let json = try #require(try JSONSerialization.jsonObject(with: Data(body.readableBytesView)) as? [String: [String: Any]])
        let result = try #require(json["result"])
        #expect(result["epoch"] as? Int == 3 && result["offset"] as? Int == sizes.count)
        // The cursor is the position of the newest listed event, or the head if no event is listed.
        let behind = try #require(result["publications"] as? [[String: Any]]).compactMap { $0["offset"] as? Int }.max() ?? sizes.count
        #expect(Cursor(try #require(result["cursor"] as? String))?.position(of: Self.channel) == Position(epoch: 3, offset: UInt64(behind)))
        let publications = try #require(result["publications"] as? [[String: Any]])
        return (
            Answer(
                offsets: publications.compactMap { $0["offset"] as? Int }, isTruncated: result["truncated"] as? Bool ?? false,
                gap: result["gap"] as? [String: String]), log
        )
    }

    @Test(arguments: [
        (",\"limit\":3", [8, 9, 10]), (",\"limit\":3,\"reverse\":true", [10, 9, 8]), (",\"limit\":100", Array(1...10)), ("", Array(1...10)),
        (",\"limit\":0", []), (",\"limit\":3,\"since\":\"3-4\"", [5, 6, 7]), (",\"limit\":3,\"since\":\"3-4\",\"reverse\":true", [7, 6, 5]),
        (",\"since\":\"3-10\"", []), (",\"limit\":3,\"since\":\"\(cursor("a", 3, 4))\"", [5, 6, 7]),
    ])
    func smallEventsNeedAtMostOneRead(_ fields: String, _ offsets: [Int]) async throws {
        let (answer, log) = try await self.ask(fields, [Int](repeating: 100, count: 10))
        #expect(answer.offsets == offsets && !answer.isTruncated && answer.gap == nil)
        #expect(log.reads <= 1)
    }

    /// If not all events fit, the oldest events are left out, in both orders.
    @Test(arguments: [false, true])
    func theNewestEventsAreReturnedIfNotAllFit(_ isReversed: Bool) async throws {
        let (answer, log) = try await self.ask(",\"limit\":1000,\"reverse\":\(isReversed)", [Int](repeating: 60_000, count: 100))
        let expected = Array(32...100)
        #expect(answer.offsets == (isReversed ? expected.reversed() : expected))
        #expect(answer.isTruncated && answer.gap == nil)
        #expect(log.reads < 20)
    }

    /// With `since` a client reads forwards, so the newest events are left for the next request.
    @Test func withSinceTheOldestEventsAreReturnedIfNotAllFit() async throws {
        let (answer, _) = try await self.ask(",\"limit\":1000,\"since\":\"3-10\"", [Int](repeating: 60_000, count: 100))
        #expect(answer.offsets == Array(11...79) && answer.isTruncated)
        let (rest, _) = try await self.ask(",\"limit\":1000,\"since\":\"3-79\"", [Int](repeating: 60_000, count: 100))
        #expect(rest.offsets == Array(80...100) && !rest.isTruncated)
    }

    @Test func anEventLargerThanTheLimitIsReturnedAlone() async throws {
        let (alone, _) = try await self.ask("", [1, FixedLimits.historyResponseBytesMax + 1])
        #expect(alone.offsets == [2] && alone.isTruncated)
        let (behind, _) = try await self.ask("", [1, FixedLimits.historyResponseBytesMax + 1, 1])
        #expect(behind.offsets == [3] && behind.isTruncated)
        let (full, _) = try await self.ask("", [1, FixedLimits.historyResponseBytesMax - 1, 1])
        #expect(full.offsets == [2, 3] && full.isTruncated)
    }

    /// Without `since`, expired events are neither a gap nor a truncation.
    @Test func expiredEventsDoNotTruncateTheResponse() async throws {
        let (some, _) = try await self.ask(",\"limit\":8", [Int](repeating: 1, count: 10), expired: 5)
        #expect(some.offsets == Array(6...10) && !some.isTruncated && some.gap == nil)
        let (none, _) = try await self.ask(",\"limit\":8", [Int](repeating: 1, count: 10), expired: 10)
        #expect(none.offsets == [] && !none.isTruncated && none.gap == nil)
        let (since, _) = try await self.ask(",\"limit\":8,\"since\":\"3-2\"", [Int](repeating: 1, count: 10), expired: 5)
        #expect(since.offsets == Array(6...10) && since.gap == ["from": "3-3", "to": "3-5", "reason": "expired"])
    }

    @Test(arguments: [("3-900", "3-10", "3-10"), ("9-1", "3-10", "3-10"), ("2-900", "2-901", "3-5")])
    func theGapOfAResetNeverEndsBeforeItBegins(_ since: String, _ from: String, _ to: String) async throws {
        let (answer, _) = try await self.ask(",\"since\":\"\(since)\"", [Int](repeating: 1, count: 10), expired: 5)
        #expect(answer.gap == ["from": from, "to": to, "reason": "reset"])
    }

    @Test func aCursorOfAnotherChannelIsRefused() {
        #expect(failure { _ = try HistoryQuery(ByteBuffer(string: "{\"channel\":\"a\",\"since\":\"\(cursor("b", 3, 4))\"}")) } == "400 bad_cursor")
    }

    @Test func eventsAppendedDuringTheReadAreNotReturned() async throws {
        let (answer, _) = try await self.ask(",\"limit\":8", [Int](repeating: 1, count: 10), expired: 5, appended: 5)
        #expect(answer.offsets == Array(6...10))
    }

    /// The expected result is computed separately: the newest events of history that fit.
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func theResponseIsTheNewestHistoryThatFits(seed: UInt64) async throws {
        var random = SplitMix(seed: seed)
        for _ in 0..<15 {
            let sizes = (0..<(1 + random.below(3000))).map { _ in random.below(20) == 0 ? random.below(300_000) : random.below(2000) }
            let expired = random.below(3) == 0 ? random.below(sizes.count + 1) : 0
            let limit = 1 + random.below(4000)
            let (answer, log) = try await self.ask(",\"limit\":\(limit)", sizes, expired: expired)
            let first = max(expired, sizes.count - limit)
            var start = sizes.count
            var bytes = 0
            while start > first, bytes + sizes[start - 1] <= FixedLimits.historyResponseBytesMax {
                start -= 1
                bytes += sizes[start]
            }
            #expect(answer.offsets == Array((start + 1)..<(sizes.count + 1)), "seed \(seed)")
            #expect(answer.isTruncated == (start > first), "seed \(seed)")
            #expect(log.reads < 40, "seed \(seed)")
        }
    }
}

/// A channel with fixed events.
private final class ShelfLog: ChannelDirectory, @unchecked Sendable {
    private let events: [SequencedEvent]
    private(set) var reads = 0

    init(events: [SequencedEvent]) { self.events = events }

    func history(of channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        self.reads += 1
        var bytes = 0
        var found: [SequencedEvent] = []
        for event in self.events where event.position > position && found.count < limit {
            bytes += event.event.payload.readableBytes
            if bytes > bytesMax, !found.isEmpty { break }
            found.append(event)
        }
        return LogSlice(events: found, oldest: self.events.first?.position)
    }

    func head(of channel: ChannelName) async throws(LogError) -> Position { self.events.last?.position ?? Position(epoch: 1, offset: 0) }
    func subscribers(of channel: ChannelName) async throws(LogError) -> Int { 0 }
    func channels(prefix: String, after: String?, limit: Int) async throws(LogError) -> [ListedChannel] { [] }
}
