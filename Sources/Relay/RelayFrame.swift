import NIOCore
import Partitioning
import Pipeline

/// A message of the data path between two nodes. A pure value with its bytes.
///
/// The node that dialled the connection sends `publish`, `interest`, `request` and `content`: it has publishers and subscribers, and partitions that move to the
/// other node. The other node sends the rest: it owns partitions. All integers are big endian; a text is its length and its UTF-8 bytes.
enum RelayFrame {
    /// Events to sequence. `relay` and `id` are numbers of the sender, and come back with the outcomes.
    case publish(relay: UInt16, id: UInt64, [PublishedEvent])
    case interest([ChannelInterest])
    case request(relay: UInt16, token: UInt64, RelayRequest)
    /// The sender accepts publishes under these grants. Sent first on each connection, and when partitions are acquired.
    case acquired([Grant])
    /// The sender accepts no publishes under these grants any more.
    case ended([Grant])
    case opened([OpenedChannel])
    case events(RelayedEvents)
    case outcomes(relay: UInt16, id: UInt64, [IndexedOutcome])
    case reply(relay: UInt16, token: UInt64, RelayReply)
    /// A chunk of the content of a partition that moves from the sender, which dialled the connection, to the receiver: see ``LogTransfer``.
    case content(Grant, ByteBuffer)
    /// What the receiver of a chunk has staged.
    case staged(Grant, LogStaging)

    struct PublishedEvent {
        var event: Event
        /// The owner epoch that the receiver has announced for the event's partition.
        var ownerEpoch: OwnerEpoch
        /// See ``PublishFlows``.
        var flow: UInt64
    }

    /// The sender's interest in one channel.
    struct ChannelInterest: Equatable {
        var channel: ChannelName
        /// The number of the sender's subscribers.
        var subscribers: Int
        var wanted: InterestChange.Wanted
    }

    struct OpenedChannel {
        var channel: ChannelName
        var head: Position
        var ownerEpoch: OwnerEpoch
    }

    struct IndexedOutcome {
        var index: Int
        var outcome: PublishOutcome
    }

    /// A frame that the sender would not have written. The text is for people.
    struct Malformed: Error, CustomStringConvertible {
        var description: String
    }
}

/// A question to the owner of a channel's partition.
enum RelayRequest: Sendable {
    case history(ChannelName, after: Position, limit: Int, bytesMax: Int)
    /// See ``ChannelOwner/barrier(_:)``.
    case barrier(ChannelName)
    case head(ChannelName)
    case subscribers(ChannelName)
    /// A page of the channels whose partitions the receiver serves.
    case channels(prefix: String, after: String?, limit: Int)

    /// Nil for a question that every node answers for its own partitions.
    var channel: ChannelName? {
        switch self {
        case .history(let channel, _, _, _), .barrier(let channel), .head(let channel), .subscribers(let channel): channel
        case .channels: nil
        }
    }
}

enum RelayReply: Sendable {
    case history(LogSlice)
    /// The answer to ``RelayRequest/barrier(_:)``.
    case opened(head: Position, ownerEpoch: OwnerEpoch)
    case head(Position)
    case subscribers(Int)
    case channels([ListedChannel])
    case failed(LogError)
    /// The receiver does not own the channel's partition.
    case moved
}

// MARK: - Bytes

extension RelayFrame {
    private enum Kind: UInt8 {
        case publish = 1
        case interest, request, acquired, ended, opened, events, outcomes, reply, content, staged
    }

    /// A sender splits what is larger. The bytes of one event may exceed it.
    static let bytesMax = 1024 * 1024
    /// The most entries of one frame that has no payloads.
    static let entriesMax = 10_000
    /// The most outcomes of one frame: each may have a sentence.
    static let outcomesMax = 1000

    func write(into buffer: inout ByteBuffer) {
        switch self {
        case .publish(let relay, let id, let events):
            buffer.begin(Kind.publish.rawValue, relay, id)
            buffer.writeInteger(UInt32(events.count))
            for published in events {
                buffer.writeMultipleIntegers(published.ownerEpoch, published.flow)
                buffer.write(published.event)
            }
        case .interest(let channels):
            buffer.begin(Kind.interest.rawValue, channels.count)
            for interest in channels {
                buffer.write(interest.channel)
                buffer.writeMultipleIntegers(UInt32(clamping: interest.subscribers), Self.number(interest.wanted))
            }
        case .request(let relay, let token, let request):
            buffer.begin(Kind.request.rawValue, relay, token)
            buffer.write(request)
        case .acquired(let grants):
            buffer.begin(Kind.acquired.rawValue, grants.count)
            for grant in grants { buffer.writeMultipleIntegers(UInt32(grant.partition), grant.ownerEpoch) }
        case .ended(let grants):
            buffer.begin(Kind.ended.rawValue, grants.count)
            for grant in grants { buffer.writeMultipleIntegers(UInt32(grant.partition), grant.ownerEpoch) }
        case .opened(let channels):
            buffer.begin(Kind.opened.rawValue, channels.count)
            for opened in channels {
                buffer.write(opened.channel)
                buffer.write(opened.head)
                buffer.writeInteger(opened.ownerEpoch)
            }
        case .events(let relayed):
            buffer.begin(Kind.events.rawValue, relayed.events.count)
            for (index, event) in relayed.events.enumerated() {
                buffer.writeInteger(relayed.ownerEpoch(of: index))
                buffer.write(event)
            }
        case .outcomes(let relay, let id, let outcomes):
            buffer.begin(Kind.outcomes.rawValue, relay, id)
            buffer.writeInteger(UInt32(outcomes.count))
            for indexed in outcomes {
                buffer.writeInteger(UInt32(indexed.index))
                buffer.write(indexed.outcome)
            }
        case .reply(let relay, let token, let reply):
            buffer.begin(Kind.reply.rawValue, relay, token)
            buffer.write(reply)
        case .content(let grant, let chunk):
            buffer.begin(Kind.content.rawValue, grant.partition)
            buffer.writeMultipleIntegers(grant.ownerEpoch, UInt32(chunk.readableBytes))
            buffer.writeImmutableBuffer(chunk)
        case .staged(let grant, let staging):
            buffer.begin(Kind.staged.rawValue, grant.partition)
            buffer.writeInteger(grant.ownerEpoch)
            switch staging {
            case .incomplete: buffer.writeInteger(UInt8(1))
            case .complete: buffer.writeInteger(UInt8(2))
            case .refused(let reason):
                buffer.writeInteger(UInt8(3))
                buffer.write(long: reason)
            }
        }
    }

    /// Reads a frame. Payloads are copied, so that a small event does not keep the bytes of a whole read of the socket.
    init(_ buffer: ByteBuffer) throws(Malformed) {
        var buffer = buffer
        let number = try buffer.take(UInt8.self)
        guard let kind = Kind(rawValue: number) else { throw Malformed(description: "a frame has the unknown kind \(number)") }
        switch kind {
        case .publish:
            let relay = try buffer.take(UInt16.self)
            let id = try buffer.take(UInt64.self)
            self = .publish(
                relay: relay, id: id,
                try buffer.takeArray { buffer throws(Malformed) in
                    let ownerEpoch = try buffer.take(OwnerEpoch.self)
                    let flow = try buffer.take(UInt64.self)
                    return PublishedEvent(event: try buffer.takeEvent(), ownerEpoch: ownerEpoch, flow: flow)
                })
        case .interest:
            self = .interest(
                try buffer.takeArray { buffer throws(Malformed) in
                    let channel = try buffer.takeChannel()
                    let subscribers = Int(try buffer.take(UInt32.self))
                    return ChannelInterest(channel: channel, subscribers: subscribers, wanted: try Self.wanted(try buffer.take(UInt8.self)))
                })
        case .request:
            let relay = try buffer.take(UInt16.self)
            let token = try buffer.take(UInt64.self)
            self = .request(relay: relay, token: token, try buffer.takeRequest())
        case .acquired: self = .acquired(try buffer.takeArray { buffer throws(Malformed) in try buffer.takeGrant() })
        case .ended: self = .ended(try buffer.takeArray { buffer throws(Malformed) in try buffer.takeGrant() })
        case .opened:
            self = .opened(
                try buffer.takeArray { buffer throws(Malformed) in
                    let channel = try buffer.takeChannel()
                    let head = try buffer.takePosition()
                    return OpenedChannel(channel: channel, head: head, ownerEpoch: try buffer.take(OwnerEpoch.self))
                })
        case .events:
            var relayed = RelayedEvents()
            for _ in 0..<(try buffer.take(UInt32.self)) {
                let ownerEpoch = try buffer.take(OwnerEpoch.self)
                relayed.append(try buffer.takeSequencedEvent(), under: ownerEpoch)
            }
            self = .events(relayed)
        case .outcomes:
            let relay = try buffer.take(UInt16.self)
            let id = try buffer.take(UInt64.self)
            self = .outcomes(
                relay: relay, id: id,
                try buffer.takeArray { buffer throws(Malformed) in
                    let index = Int(try buffer.take(UInt32.self))
                    return IndexedOutcome(index: index, outcome: try buffer.takeOutcome())
                })
        case .reply:
            let relay = try buffer.take(UInt16.self)
            let token = try buffer.take(UInt64.self)
            self = .reply(relay: relay, token: token, try buffer.takeReply())
        case .content:
            let grant = try buffer.takeGrant()
            // The log copies what it stages.
            self = .content(grant, try buffer.takeSlice())
        case .staged:
            let grant = try buffer.takeGrant()
            self = .staged(grant, try buffer.takeStaging())
        }
        guard buffer.readableBytes == 0 else { throw Malformed(description: "\(buffer.readableBytes) bytes follow the end of a frame") }
    }

    private static func number(_ wanted: InterestChange.Wanted) -> UInt8 {
        switch wanted {
        case .open: 1
        case .unchanged: 2
        case .close: 3
        }
    }

    private static func wanted(_ number: UInt8) throws(Malformed) -> InterestChange.Wanted {
        switch number {
        case 1: .open
        case 2: .unchanged
        case 3: .close
        default: throw Malformed(description: "an interest has the unknown number \(number)")
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func begin(_ kind: UInt8, _ relay: UInt16, _ number: UInt64) { self.writeMultipleIntegers(kind, relay, number) }

    fileprivate mutating func begin(_ kind: UInt8, _ count: Int) { self.writeMultipleIntegers(kind, UInt32(count)) }

    fileprivate mutating func write(_ channel: ChannelName) {
        self.writeInteger(UInt8(channel.string.utf8.count))
        self.writeString(channel.string)
    }

    /// Length 255 means nil. The texts of events are shorter: a type has at most 100 bytes, a message id 200.
    fileprivate mutating func write(optional text: String?) {
        guard let text, text.utf8.count < 255 else {
            self.writeInteger(UInt8(255))
            return
        }
        self.writeInteger(UInt8(text.utf8.count))
        self.writeString(text)
    }

    fileprivate mutating func write(long text: String) {
        let bytes = text.utf8.prefix(Int(UInt16.max))
        self.writeInteger(UInt16(bytes.count))
        self.writeBytes(bytes)
    }

    fileprivate mutating func write(_ position: Position) { self.writeMultipleIntegers(position.epoch, position.offset) }

    fileprivate mutating func write(_ event: Event) {
        self.write(event.channel)
        self.write(optional: event.type)
        self.write(optional: event.messageID)
        self.writeInteger(UInt32(event.payload.readableBytes))
        self.writeImmutableBuffer(event.payload)
    }

    fileprivate mutating func write(_ event: SequencedEvent) {
        self.write(event.position)
        self.writeInteger(event.timestamp)
        self.write(event.event)
    }

    fileprivate mutating func write(_ outcome: PublishOutcome) {
        switch outcome {
        case .published(let position, let subscribers):
            self.writeInteger(UInt8(1))
            self.write(position)
            self.writeInteger(UInt32(clamping: subscribers))
        case .duplicate(let position, let subscribers):
            self.writeInteger(UInt8(2))
            self.write(position)
            self.writeInteger(UInt32(clamping: subscribers))
        case .refused(.logUnavailable(let message)):
            self.writeInteger(UInt8(3))
            self.write(long: message)
        case .refused(.overloaded): self.writeInteger(UInt8(4))
        case .refused(.tooManyChannels): self.writeInteger(UInt8(5))
        case .refused(.stopping): self.writeInteger(UInt8(6))
        case .refused(.moved): self.writeInteger(UInt8(7))
        case .refused(.ownerUnreachable): self.writeInteger(UInt8(8))
        }
    }

    fileprivate mutating func write(_ request: RelayRequest) {
        switch request {
        case .history(let channel, let after, let limit, let bytesMax):
            self.writeInteger(UInt8(1))
            self.write(channel)
            self.write(after)
            self.writeMultipleIntegers(UInt32(clamping: limit), UInt32(clamping: bytesMax))
        case .barrier(let channel):
            self.writeInteger(UInt8(2))
            self.write(channel)
        case .head(let channel):
            self.writeInteger(UInt8(3))
            self.write(channel)
        case .subscribers(let channel):
            self.writeInteger(UInt8(4))
            self.write(channel)
        case .channels(let prefix, let after, let limit):
            self.writeInteger(UInt8(5))
            self.write(long: prefix)
            self.writeInteger(UInt8(after == nil ? 0 : 1))
            if let after { self.write(long: after) }
            self.writeInteger(UInt32(clamping: limit))
        }
    }

    fileprivate mutating func write(_ reply: RelayReply) {
        switch reply {
        case .history(let slice):
            self.writeInteger(UInt8(1))
            self.writeInteger(UInt8(slice.oldest == nil ? 0 : 1))
            if let oldest = slice.oldest { self.write(oldest) }
            // The slice is cut, as a log cuts it that reaches the limit of bytes: the reader asks again after the last event.
            let countAt = self.writerIndex
            self.writeInteger(UInt32(0))
            var count: UInt32 = 0
            for event in slice.events {
                self.write(event)
                count += 1
                if self.readableBytes > 4 * RelayFrame.bytesMax { break }
            }
            self.setInteger(count, at: countAt)
        case .opened(let head, let ownerEpoch):
            self.writeInteger(UInt8(2))
            self.write(head)
            self.writeInteger(ownerEpoch)
        case .head(let position):
            self.writeInteger(UInt8(3))
            self.write(position)
        case .subscribers(let count):
            self.writeInteger(UInt8(4))
            self.writeInteger(UInt32(clamping: count))
        case .channels(let channels):
            self.writeInteger(UInt8(5))
            self.writeInteger(UInt32(channels.count))
            for listed in channels {
                self.write(listed.channel)
                self.write(listed.head)
                self.writeInteger(UInt32(clamping: listed.subscribers))
            }
        case .failed(let error):
            self.writeInteger(UInt8(6))
            self.write(long: error.message)
        case .moved: self.writeInteger(UInt8(7))
        }
    }
}

extension ByteBuffer {
    private static let short = RelayFrame.Malformed(description: "a frame is too short")

    fileprivate mutating func take<Number: FixedWidthInteger>(_ type: Number.Type) throws(RelayFrame.Malformed) -> Number {
        guard let number = self.readInteger(as: type) else { throw Self.short }
        return number
    }

    fileprivate mutating func takeArray<Element>(
        _ element: (inout ByteBuffer) throws(RelayFrame.Malformed) -> Element
    ) throws(RelayFrame.Malformed) -> [Element] {
        let count = Int(try self.take(UInt32.self))
        var elements: [Element] = []
        // The shortest elements have about 16 bytes: a wrong count reserves little more memory than the frame has.
        elements.reserveCapacity(min(count, self.readableBytes / 16))
        for _ in 0..<count { elements.append(try element(&self)) }
        return elements
    }

    private mutating func takeText(_ length: Int) throws(RelayFrame.Malformed) -> String {
        guard let text = self.readString(length: length) else { throw Self.short }
        return text
    }

    fileprivate mutating func takeChannel() throws(RelayFrame.Malformed) -> ChannelName {
        let text = try self.takeText(Int(try self.take(UInt8.self)))
        guard let channel = ChannelName(text) else { throw RelayFrame.Malformed(description: "a frame has an invalid channel name") }
        return channel
    }

    private mutating func takeOptional() throws(RelayFrame.Malformed) -> String? {
        let length = Int(try self.take(UInt8.self))
        return length == 255 ? nil : try self.takeText(length)
    }

    private mutating func takeLong() throws(RelayFrame.Malformed) -> String { try self.takeText(Int(try self.take(UInt16.self))) }

    fileprivate mutating func takePosition() throws(RelayFrame.Malformed) -> Position {
        let epoch = try self.take(UInt64.self)
        return Position(epoch: epoch, offset: try self.take(UInt64.self))
    }

    fileprivate mutating func takeGrant() throws(RelayFrame.Malformed) -> Grant {
        let partition = Int(try self.take(UInt32.self))
        guard partition < Partitions.countMax else { throw RelayFrame.Malformed(description: "a frame has the impossible partition \(partition)") }
        return Grant(partition: partition, ownerEpoch: try self.take(OwnerEpoch.self))
    }

    fileprivate mutating func takeEvent() throws(RelayFrame.Malformed) -> Event {
        let channel = try self.takeChannel()
        let type = try self.takeOptional()
        let messageID = try self.takeOptional()
        let payload = try self.takeSlice()
        return Event(channel: channel, payload: ByteBuffer(bytes: payload.readableBytesView), type: type, messageID: messageID)
    }

    fileprivate mutating func takeSequencedEvent() throws(RelayFrame.Malformed) -> SequencedEvent {
        let position = try self.takePosition()
        let timestamp = try self.take(Int64.self)
        return SequencedEvent(event: try self.takeEvent(), position: position, timestamp: timestamp)
    }

    fileprivate mutating func takeOutcome() throws(RelayFrame.Malformed) -> PublishOutcome {
        switch try self.take(UInt8.self) {
        case 1:
            let position = try self.takePosition()
            return .published(position, subscribers: Int(try self.take(UInt32.self)))
        case 2:
            let position = try self.takePosition()
            return .duplicate(position, subscribers: Int(try self.take(UInt32.self)))
        case 3: return .refused(.logUnavailable(try self.takeLong()))
        case 4: return .refused(.overloaded)
        case 5: return .refused(.tooManyChannels)
        case 6: return .refused(.stopping)
        case 7: return .refused(.moved)
        case 8: return .refused(.ownerUnreachable)
        case let number: throw RelayFrame.Malformed(description: "an outcome has the unknown number \(number)")
        }
    }

    fileprivate mutating func takeSlice() throws(RelayFrame.Malformed) -> ByteBuffer {
        let length = Int(try self.take(UInt32.self))
        guard let slice = self.readSlice(length: length) else { throw Self.short }
        return slice
    }

    fileprivate mutating func takeStaging() throws(RelayFrame.Malformed) -> LogStaging {
        switch try self.take(UInt8.self) {
        case 1: return .incomplete
        case 2: return .complete
        case 3: return .refused(try self.takeLong())
        case let number: throw RelayFrame.Malformed(description: "a chunk's result has the unknown number \(number)")
        }
    }

    fileprivate mutating func takeRequest() throws(RelayFrame.Malformed) -> RelayRequest {
        switch try self.take(UInt8.self) {
        case 1:
            let channel = try self.takeChannel()
            let after = try self.takePosition()
            let limit = Int(try self.take(UInt32.self))
            return .history(channel, after: after, limit: limit, bytesMax: Int(try self.take(UInt32.self)))
        case 2: return .barrier(try self.takeChannel())
        case 3: return .head(try self.takeChannel())
        case 4: return .subscribers(try self.takeChannel())
        case 5:
            let prefix = try self.takeLong()
            let after = try self.take(UInt8.self) == 0 ? nil : try self.takeLong()
            return .channels(prefix: prefix, after: after, limit: Int(try self.take(UInt32.self)))
        case let number: throw RelayFrame.Malformed(description: "a request has the unknown number \(number)")
        }
    }

    fileprivate mutating func takeReply() throws(RelayFrame.Malformed) -> RelayReply {
        switch try self.take(UInt8.self) {
        case 1:
            let oldest = try self.take(UInt8.self) == 0 ? nil : try self.takePosition()
            let events = try self.takeArray { buffer throws(RelayFrame.Malformed) in try buffer.takeSequencedEvent() }
            return .history(LogSlice(events: events, oldest: oldest))
        case 2:
            let head = try self.takePosition()
            return .opened(head: head, ownerEpoch: try self.take(OwnerEpoch.self))
        case 3: return .head(try self.takePosition())
        case 4: return .subscribers(Int(try self.take(UInt32.self)))
        case 5:
            return .channels(
                try self.takeArray { buffer throws(RelayFrame.Malformed) in
                    let channel = try buffer.takeChannel()
                    let head = try buffer.takePosition()
                    return ListedChannel(channel: channel, head: head, subscribers: Int(try buffer.take(UInt32.self)))
                })
        case 6: return .failed(LogError(.unavailable, try self.takeLong()))
        case 7: return .moved
        case let number: throw RelayFrame.Malformed(description: "a reply has the unknown number \(number)")
        }
    }
}
