package import NIOCore

/// What a connection does when its subscriber asks. Called on the connection's loop.
package protocol SubscriberConnection: AnyObject {
    /// Every channel is open: write the head of the response. Events follow at once.
    func subscriberOpened(cursor: String)

    /// A long-poll has its answer: elements separated by commas (with one at the end), and the cursor after them. The subscriber has been closed.
    func subscriberAnswered(elements: ByteBuffer, cursor: String)
}

/// One connection that receives events: the part of it that the fanout works with.
///
/// `@unchecked Sendable`: confined to its channel's event loop, which is its fanout's; every entry of ``Fanout`` asserts that loop.
package final class Subscriber: @unchecked Sendable {
    package let framing: Framing
    /// The connection's own handler context: what is written there goes straight to the socket.
    let context: ChannelHandlerContext
    let channel: any Channel
    unowned let connection: any SubscriberConnection
    /// In the order of the request.
    var subscriptions: [Subscription] = []
    /// Channels whose head is not known yet.
    var pendingOpens = 0
    var isOpen = false
    package internal(set) var isClosed = false
    /// A long-poll gathers here and is answered once.
    package internal(set) var gathered = ByteBuffer()
    var isAnswerQueued = false

    package init(framing: Framing, context: ChannelHandlerContext, connection: any SubscriberConnection) {
        self.framing = framing
        self.context = context
        self.channel = context.channel
        self.connection = connection
    }

    var isPoll: Bool { self.framing == .element }

    /// Whether its socket takes bytes now; a long-poll, whether its answer is not full.
    var takesMore: Bool { self.isPoll ? self.gathered.readableBytes < Subscriber.answerBytesMax : self.channel.isWritable }

    /// A long-poll's answer ends after the event that passes this.
    static let answerBytesMax = 256 * 1024

    /// The cursor over all its channels, as they stand for this subscriber.
    package var cursor: String {
        var buffer = ByteBufferAllocator().buffer(capacity: 64)
        self.writeCursor(into: &buffer)
        return String(buffer: buffer)
    }

    func writeCursor(into buffer: inout ByteBuffer) {
        Cursor.write(count: self.subscriptions.count, into: &buffer) {
            let subscription = self.subscriptions[$0]
            return Cursor.Entry(channel: subscription.feed.channelHash, position: subscription.position)
        }
    }

    /// Writes and flushes; a long-poll gathers instead.
    func write(_ buffer: ByteBuffer) {
        if self.isPoll {
            self.gathered.writeImmutableBuffer(buffer)
        } else {
            self.context.writeAndFlush(NIOAny(buffer), promise: nil)
        }
    }
}
