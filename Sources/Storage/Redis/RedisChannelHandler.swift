import NIOCore

/// Passes the bytes of one connection through its reader, and the connection's end to its client. Confined to the client's event loop.
final class RedisChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let client: RedisClient
    private var reader: RedisReplyReader
    private var replies: [RedisReply] = []
    private var isEnded = false

    init(client: RedisClient, replyBytesMax: Int) {
        self.client = client
        self.reader = RedisReplyReader(replyBytesMax: replyBytesMax)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !self.isEnded else { return }
        let channel = context.channel
        var failure: RedisProtocolError?
        do throws(RedisProtocolError) {
            try self.reader.read(self.unwrapInboundIn(data), into: &self.replies)
        } catch {
            self.isEnded = true
            failure = error
        }
        if !self.replies.isEmpty {
            let replies = self.replies
            self.client.assumeIsolated { $0.received(replies, on: channel) }
        }
        self.replies.removeAll(keepingCapacity: true)
        if let failure { self.client.assumeIsolated { $0.lost(.malformed(failure), on: channel) } }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        self.isEnded = true
        let channel = context.channel
        self.client.assumeIsolated { $0.lost(.failed(error), on: channel) }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.isEnded = true
        let channel = context.channel
        self.client.assumeIsolated { $0.lost(.closed, on: channel) }
    }
}
