import Foundation
import NIOCore
import Partitioning
import Pipeline
import PipelineTestKit
import Storage
import Synchronization
import TestKit
import Testing

extension TestClock {
    var clocks: Clocks { Clocks(wall: { self.wall }, steady: { self.now }) }
}

func event(
    _ name: String, _ position: Position, _ payload: String = "payload", type: String? = nil, messageID: String? = nil, at timestamp: Int64
) -> SequencedEvent {
    SequencedEvent(
        event: Event(channel: channel(name), payload: ByteBuffer(string: payload), type: type, messageID: messageID), position: position,
        timestamp: timestamp
    )
}

/// Events of one channel with the offsets of a range.
func events(_ name: String, _ epoch: UInt64, _ offsets: ClosedRange<UInt64>, at timestamp: Int64) -> [SequencedEvent] {
    offsets.map { event(name, position(epoch, $0), "\(name) \(epoch)-\($0)", at: timestamp) }
}

/// The properties of an event that tests compare.
struct Seen: Equatable {
    var channel: String
    var position: Position
    var timestamp: Int64
    var payload: String
    var type: String?
    var messageID: String?

    init(_ event: SequencedEvent) {
        self.channel = event.event.channel.string
        self.position = event.position
        self.timestamp = event.timestamp
        self.payload = String(buffer: event.event.payload)
        self.type = event.event.type
        self.messageID = event.event.messageID
    }
}

/// The heads and message ids of a log.
struct LogContents {
    var heads: [(channel: ChannelName, head: Position, timestamp: Int64)] = []
    /// The message ids that the log still uses to detect duplicates, oldest first.
    var messageIDs: [(messageID: String, position: Position, timestamp: Int64)] = []
    var epochFloor: UInt64

    var headsByName: [String: Position] { Dictionary(uniqueKeysWithValues: self.heads.map { ($0.channel.string, $0.head) }) }
}

/// These tests use partition 0 for all channels: a log does not check the partition of a channel.
extension Log {
    /// Seals the partitions, or throws the first refusal. Then reads everything that the log remembers.
    func sealed(_ grants: [Grant]) async throws -> LogContents {
        var contents = LogContents(epochFloor: 0)
        for result in await self.seal(grants) { contents.epochFloor = max(contents.epochFloor, try result.get().epochFloor) }
        var next: RememberedPlace? = .start
        while let place = next {
            let slice = try await self.remembered(from: place, count: 100)
            contents.heads += slice.channels
            next = slice.next
        }
        // The partition of a channel is not known here. A log of one process finds it under each grant, a log on Redis under one.
        let requests = contents.heads.flatMap { remembered in grants.map { ChannelOfPartition(remembered.channel, $0) } }
        let found = try await self.heads(of: requests).heads
        for (index, remembered) in contents.heads.enumerated() {
            let match = found[(index * grants.count)..<((index + 1) * grants.count)].first { $0?.head == remembered.head }
            #expect(match != nil)
            contents.messageIDs += match??.messageIDs ?? []
        }
        contents.messageIDs.sort { $0.timestamp < $1.timestamp }
        return contents
    }

    /// Appends events of one partition, or throws the error.
    func append(_ events: [SequencedEvent], under grant: Grant = oneGrant[0]) async throws {
        for result in await self.append(LogBatch(events, under: grant)) { try result.get() }
    }

    func forget(_ channels: [ChannelName], writtenBefore oldest: Int64 = .max) async throws(LogError) {
        try await self.forget([oneGrant[0]: channels], writtenBefore: oldest)
    }

    func trim(now: Int64) async throws(LogError) { try await self.trim(oneGrant, now: now) }
}

extension LogSlice {
    var seen: [Seen] { self.events.map(Seen.init) }
    var offsets: [UInt64] { self.events.map(\.position.offset) }
}

/// The error that the body must throw.
func logError(_ body: () async throws -> Void, sourceLocation: SourceLocation = #_sourceLocation) async throws -> LogError {
    do {
        try await body()
    } catch {
        return try #require(error as? LogError, sourceLocation: sourceLocation)
    }
    throw NothingThrown()
}

struct NothingThrown: Error {}

let oneGrant = [Grant(partition: 0, ownerEpoch: 1)]
