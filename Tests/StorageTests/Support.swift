import Foundation
import NIOCore
import Partitioning
import Pipeline
import Storage
import Synchronization
import TestKit
import Testing

extension TestClock {
    var clocks: Clocks { Clocks(wall: { self.wall }, steady: { self.now }) }
}

func channel(_ name: String) -> ChannelName { ChannelName(name)! }

func position(_ epoch: UInt64, _ offset: UInt64) -> Position { Position(epoch: epoch, offset: offset) }

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

/// What a test compares of an event.
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

extension LogContents {
    var headsByName: [String: Position] { Dictionary(uniqueKeysWithValues: self.heads.map { ($0.channel.string, $0.head) }) }
}

extension LogSlice {
    var seen: [Seen] { self.events.map(Seen.init) }
    var offsets: [UInt64] { self.events.map(\.position.offset) }
}

/// The code and the sentence of the error that the body must throw.
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
