import NIOCore
import Partitioning
import Pipeline

/// The bytes of one chunk of a partition's content: a header, then runs of events, or the summary that ends the content. All numbers are big-endian.
///
/// A run has consecutive events of one channel. A channel with many events has runs in several chunks. A channel without stored events has a run without events,
/// which carries its head. Ages are in milliseconds.
enum PartitionChunk {
    static let version: UInt8 = 1
    /// A chunk ends with the first event or run that exceeds this size.
    static let bytesMax = 64 * 1024

    enum Kind: UInt8, Sendable {
        case runs = 0
        case summary = 1
    }

    struct Header: Equatable {
        var kind: Kind
        var grant: Grant
        /// From 0, without a hole.
        var number: UInt32
    }

    struct Run {
        var channel: ChannelName
        var head: Position
        /// Of the head, which may be older than the history reaches back.
        var headAge: Int64
        var events: [(event: SequencedEvent, age: Int64)]
    }

    /// The last chunk, which ends with the digest of all chunks. The content is complete if it agrees with the chunks before.
    struct Summary: Equatable {
        /// The lowest epoch for channels without a head.
        var epochFloor: UInt64
        var chunks: UInt32
        var channels: UInt64
        var events: UInt64
    }

    /// The digest of a chunk and of all chunks before it.
    static func digest(_ chunk: ByteBuffer, after digest: UInt64) -> UInt64 { chunk.withUnsafeReadableBytes { XXH64.hash($0, seed: digest) } }
}

// MARK: - Writing

extension PartitionChunk {
    static func write(_ header: Header, to buffer: inout ByteBuffer) {
        buffer.writeInteger(self.version)
        buffer.writeInteger(header.kind.rawValue)
        buffer.writeInteger(UInt32(clamping: header.grant.partition))
        buffer.writeInteger(header.grant.ownerEpoch)
        buffer.writeInteger(header.number)
    }

    static func write(_ summary: Summary, after digest: UInt64, to buffer: inout ByteBuffer) {
        buffer.writeInteger(summary.epochFloor)
        buffer.writeInteger(summary.chunks)
        buffer.writeInteger(summary.channels)
        buffer.writeInteger(summary.events)
        buffer.writeInteger(self.digest(buffer, after: digest))
    }

    /// Begins a run. Returns the place of its number of events, which ``endRun(at:count:in:)`` writes.
    static func beginRun(_ channel: ChannelName, head: Position, headAge: Int64, in buffer: inout ByteBuffer) -> Int {
        buffer.writeLengthPrefixed(channel.string)
        buffer.writeInteger(head.epoch)
        buffer.writeInteger(head.offset)
        buffer.writeInteger(headAge)
        let place = buffer.writerIndex
        buffer.writeInteger(UInt32(0))
        return place
    }

    static func endRun(at place: Int, count: UInt32, in buffer: inout ByteBuffer) { buffer.setInteger(count, at: place) }

    /// The first event of a run also has its offset; the others follow it.
    static func write(_ event: SequencedEvent, age: Int64, isFirst: Bool, to buffer: inout ByteBuffer) {
        if isFirst { buffer.writeInteger(event.position.offset) }
        buffer.writeInteger(age)
        buffer.writeInteger(event.timestamp)
        buffer.writeInteger(UInt8((event.event.type == nil ? 0 : 1) | (event.event.messageID == nil ? 0 : 2)))
        if let type = event.event.type { buffer.writeLengthPrefixed(type) }
        if let messageID = event.event.messageID { buffer.writeLengthPrefixed(messageID) }
        buffer.writeInteger(UInt32(event.event.payload.readableBytes))
        buffer.writeImmutableBuffer(event.event.payload)
    }
}

// MARK: - Reading

extension PartitionChunk {
    /// Nil if the bytes are not a header of this version.
    static func readHeader(_ buffer: inout ByteBuffer) -> Header? {
        guard buffer.readInteger(as: UInt8.self) == self.version, let kind = buffer.readInteger(as: UInt8.self).flatMap(Kind.init),
            let partition = buffer.readInteger(as: UInt32.self), let ownerEpoch = buffer.readInteger(as: OwnerEpoch.self),
            let number = buffer.readInteger(as: UInt32.self)
        else { return nil }
        return Header(kind: kind, grant: Grant(partition: PartitionID(partition), ownerEpoch: ownerEpoch), number: number)
    }

    /// Nil if the bytes are not a summary, or if their digest differs.
    ///
    /// - Parameters:
    ///   - chunk: the whole chunk, with its header.
    ///   - digest: of the chunks before.
    static func readSummary(_ buffer: inout ByteBuffer, of chunk: ByteBuffer, after digest: UInt64) -> Summary? {
        guard let epochFloor = buffer.readInteger(as: UInt64.self), let chunks = buffer.readInteger(as: UInt32.self),
            let channels = buffer.readInteger(as: UInt64.self), let events = buffer.readInteger(as: UInt64.self),
            let sent = buffer.readInteger(as: UInt64.self), buffer.readableBytes == 0,
            let digested = chunk.getSlice(at: chunk.readerIndex, length: chunk.readableBytes - 8), sent == self.digest(digested, after: digest)
        else { return nil }
        return Summary(epochFloor: epochFloor, chunks: chunks, channels: channels, events: events)
    }

    /// Nil if the bytes are not a run.
    static func readRun(_ buffer: inout ByteBuffer) -> Run? {
        guard let channel = buffer.readLengthPrefixedString().flatMap({ ChannelName($0) }), let epoch = buffer.readInteger(as: UInt64.self),
            let offset = buffer.readInteger(as: UInt64.self), let headAge = buffer.readInteger(as: Int64.self), headAge >= 0,
            let count = buffer.readInteger(as: UInt32.self)
        else { return nil }
        var run = Run(channel: channel, head: Position(epoch: epoch, offset: offset), headAge: headAge, events: [])
        guard count > 0 else { return run }
        guard var next = buffer.readInteger(as: UInt64.self), offset >= next, offset - next >= UInt64(count) - 1 else { return nil }
        for _ in 0..<count {
            guard let age = buffer.readInteger(as: Int64.self), age >= 0, let timestamp = buffer.readInteger(as: Int64.self),
                let flags = buffer.readInteger(as: UInt8.self), flags < 4
            else { return nil }
            var event = Event(channel: channel, payload: ByteBuffer())
            if flags & 1 != 0 {
                guard let type = buffer.readLengthPrefixedString() else { return nil }
                event.type = type
            }
            if flags & 2 != 0 {
                guard let messageID = buffer.readLengthPrefixedString() else { return nil }
                event.messageID = messageID
            }
            guard let length = buffer.readInteger(as: UInt32.self), let payload = buffer.readSlice(length: Int(length)) else { return nil }
            // A copy, because a slice would keep the whole chunk in memory.
            event.payload = ByteBuffer(bytes: payload.readableBytesView)
            run.events.append((SequencedEvent(event: event, position: Position(epoch: epoch, offset: next), timestamp: timestamp), age))
            next &+= 1
        }
        return run
    }
}

extension ByteBuffer {
    /// The text is shorter than 64 KiB: channels, types and message ids are limited.
    fileprivate mutating func writeLengthPrefixed(_ text: String) {
        self.writeInteger(UInt16(clamping: text.utf8.count))
        self.writeString(text)
    }

    fileprivate mutating func readLengthPrefixedString() -> String? {
        guard let length = self.readInteger(as: UInt16.self) else { return nil }
        return self.readString(length: Int(length))
    }
}
