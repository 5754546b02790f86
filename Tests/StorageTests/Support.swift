import Foundation
import NIOCore
import Partitioning
import Pipeline
import Storage
import Synchronization
import Testing

/// A generator that repeats itself, so that a failing walk can be walked again.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}

/// Clocks that stand until they are moved: time passes for both, and only the wall clock is set.
final class TestClock: Sendable {
    private let milliseconds: Atomic<Int64>
    private let wallOffset = Atomic<Int64>(0)

    init(_ now: Int64 = 1_700_000_000_000) { self.milliseconds = Atomic(now) }

    /// The steady clock, and the wall clock before it is set.
    var now: Int64 { self.milliseconds.load(ordering: .relaxed) }

    var clocks: Clocks { Clocks(wall: { self.now + self.wallOffset.load(ordering: .relaxed) }, steady: { self.now }) }

    func setWall(ahead seconds: Int64) { self.wallOffset.store(seconds * 1000, ordering: .relaxed) }

    func advance(seconds: Int64) { self.milliseconds.add(seconds * 1000, ordering: .relaxed) }
}

/// A folder of its own for a test, gone after it.
func withTemporaryFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let folder = NSTemporaryDirectory() + "realertime-storage-" + UUID().uuidString
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
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
