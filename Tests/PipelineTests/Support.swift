import Foundation
import NIOCore
import PipelineTestKit
import Testing

@testable import Pipeline

func sequenced(_ name: String, _ position: Position, _ payload: [UInt8], type: String? = nil) -> SequencedEvent {
    SequencedEvent(event: Event(channel: channel(name), payload: ByteBuffer(bytes: payload), type: type), position: position, timestamp: 0)
}

/// Events of one channel with the offsets of a range. The payload of each event names its position.
func run(_ name: String, _ epoch: UInt64, _ offsets: ClosedRange<UInt64>) -> [SequencedEvent] {
    offsets.map { sequenced(name, position(epoch, $0), Array("{\"at\":\"\(name) \(epoch)-\($0)\"}".utf8)) }
}

func hash32(_ name: String) -> UInt32 { UInt32(truncatingIfNeeded: channel(name).hash64) }
