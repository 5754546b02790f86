import Foundation
import NIOCore
import Testing

@testable import Pipeline

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

    mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    mutating func chance(_ percent: Int) -> Bool { self.below(100) < percent }

    /// Numbers of every length in bits, not only long ones.
    mutating func number(bits: Int = 63) -> UInt64 { (self.next() >> UInt64(64 - bits)) >> UInt64(self.below(bits)) }

    mutating func bytes(upTo count: Int) -> [UInt8] { (0..<self.below(count + 1)).map { _ in UInt8(truncatingIfNeeded: self.next()) } }

    /// The bytes with a few of them replaced, removed, doubled or moved.
    mutating func mutate(_ bytes: [UInt8], with tokens: [String] = []) -> [UInt8] {
        var bytes = bytes
        for _ in 0...self.below(3) {
            let index = self.below(bytes.count + 1)
            switch self.below(6) {
            case 0: bytes.insert(UInt8(truncatingIfNeeded: self.next()), at: index)
            case 1: bytes.insert(UInt8(self.below(95) + 32), at: index)
            case 2: if index < bytes.count { bytes.remove(at: index) }
            case 3: if index < bytes.count { bytes[index] ^= 1 << UInt8(self.below(8)) }
            case 4: bytes.removeSubrange(index..<min(bytes.count, index + self.below(4)))
            default: bytes.insert(contentsOf: Array((tokens.randomElement(using: &self) ?? "\"").utf8), at: index)
            }
        }
        return bytes
    }
}

func channel(_ name: String) -> ChannelName { ChannelName(name)! }

func position(_ epoch: UInt64, _ offset: UInt64) -> Position { Position(epoch: epoch, offset: offset) }

func sequenced(_ name: String, _ position: Position, _ payload: [UInt8], type: String? = nil) -> SequencedEvent {
    SequencedEvent(event: Event(channel: channel(name), payload: ByteBuffer(bytes: payload), type: type), position: position, timestamp: 0)
}

/// Events of one channel with the offsets of a range, each with a payload that says which it is.
func run(_ name: String, _ epoch: UInt64, _ offsets: ClosedRange<UInt64>) -> [SequencedEvent] {
    offsets.map { sequenced(name, position(epoch, $0), Array("{\"at\":\"\(name) \(epoch)-\($0)\"}".utf8)) }
}

func hash32(_ name: String) -> UInt32 { UInt32(truncatingIfNeeded: channel(name).hash64) }
