package import NIOCore

/// One payload for one channel, not yet sequenced.
package struct Event: Sendable {
    package var channel: ChannelName
    /// The payload as published. The event owns these bytes: they are never a slice of a socket's read buffer.
    package var payload: ByteBuffer
    package var type: String?
    /// The publisher's id for this event. The sequencer drops a repeated publish with the same id.
    package var messageID: String?

    package init(channel: ChannelName, payload: ByteBuffer, type: String? = nil, messageID: String? = nil) {
        self.channel = channel
        self.payload = payload
        self.type = type
        self.messageID = messageID
    }

    /// The size of this event in bytes, as all limits count it.
    package var accountedBytes: Int { self.payload.readableBytes + self.channel.string.utf8.count + 64 }
}

/// An event with its position in its channel. It never changes after the log has stored it.
package struct SequencedEvent: Sendable {
    package var event: Event
    package var position: Position
    /// When the event was sequenced, in milliseconds since 1970.
    package var timestamp: Int64

    package init(event: Event, position: Position, timestamp: Int64) {
        self.event = event
        self.position = position
        self.timestamp = timestamp
    }
}
