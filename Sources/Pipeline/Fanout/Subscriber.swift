package import NIOCore

/// The connection of a subscriber, as the fanout calls it. All calls are on the connection's loop.
package protocol SubscriberConnection: AnyObject {
    /// Called when the heads of all channels are known. The connection writes the cursor, after the head of the response unless it has written that before
    /// because an owner did not report a head. Events follow immediately.
    func subscriberOpened(cursor: String)

    /// Called when a long-poll's response is complete. `elements` has a comma after each element. `cursor` is the cursor after the last element. The subscriber
    /// has been detached.
    func pollCompleted(elements: ByteBuffer, cursor: String)
}

/// One connection that receives events: the part of it that the fanout uses.
///
/// `@unchecked Sendable`: confined to its channel's event loop, which is also its fanout's loop. The methods of ``Fanout`` that use it assert that loop.
package final class Subscriber: @unchecked Sendable {
    package let framing: Framing
    /// The connection's own handler context: writes go directly to the socket.
    let context: ChannelHandlerContext
    let channel: any Channel
    unowned let connection: any SubscriberConnection
    /// In the order of the channels in the request.
    var subscriptions: [Subscription] = []
    /// The number of channels whose head is not known yet.
    var pendingOpens = 0
    var isOpen = false
    package internal(set) var isClosed = false
    /// A long-poll collects its events here, for one response.
    package internal(set) var gathered = ByteBuffer()
    var isResponseQueued = false

    package init(framing: Framing, context: ChannelHandlerContext, connection: any SubscriberConnection) {
        self.framing = framing
        self.context = context
        self.channel = context.channel
        self.connection = connection
    }

    var isPoll: Bool { self.framing == .element }

    /// True if its socket accepts bytes now. For a long-poll, true if its response is not full.
    var takesMore: Bool { self.isPoll ? self.gathered.readableBytes < FixedLimits.pollResponseBytesMax : self.channel.isWritable }

    /// The cursor over all its channels, at this subscriber's positions.
    package var cursor: String {
        var buffer = ByteBufferAllocator().buffer(capacity: 64)
        self.writeCursor(into: &buffer)
        return String(buffer: buffer)
    }

    /// The cursor with which the subscriber resumed: the only one that is right while a head is not known. It has the channels for which the subscriber brought a
    /// position. Nil if there are none.
    package var resumedCursor: String? {
        let entries = self.subscriptions.compactMap { subscription -> Cursor.Entry? in
            guard case .after(let position) = subscription.start else { return nil }
            return Cursor.Entry(channel: subscription.feed.channelHash, position: position)
        }
        return entries.isEmpty ? nil : Cursor(entries: entries).text
    }

    func writeCursor(into buffer: inout ByteBuffer) {
        Cursor.write(count: self.subscriptions.count, into: &buffer) {
            let subscription = self.subscriptions[$0]
            return Cursor.Entry(channel: subscription.feed.channelHash, position: subscription.position)
        }
    }

    /// Writes and flushes. A long-poll collects instead.
    func write(_ buffer: ByteBuffer) {
        if self.isPoll {
            self.gathered.writeImmutableBuffer(buffer)
        } else {
            self.context.writeAndFlush(NIOAny(buffer), promise: nil)
        }
    }
}
