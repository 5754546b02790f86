import NIOCore
import NIOEmbedded

@testable import Pipeline

/// A connection that stores its output. Confined to its loop.
final class Reader: ChannelInboundHandler, SubscriberConnection, @unchecked Sendable {
    typealias InboundIn = ByteBuffer

    let stage: Stage
    let channel: NIOAsyncTestingChannel
    var subscriber: Subscriber!
    var openingCursor: String?
    var answer: String?

    init(_ stage: Stage, _ requests: [(channel: ChannelName, start: SubscribeStart)], framing: Framing = .line) async throws {
        self.stage = stage
        self.channel = NIOAsyncTestingChannel(loop: stage.loop)
        try await stage.run {
            try self.channel.pipeline.syncOperations.addHandler(self)
            let context = try self.channel.pipeline.syncOperations.context(handler: self)
            self.subscriber = Subscriber(framing: framing, context: context, connection: self)
            stage.fanout.onLoop { $0.subscribe(self.subscriber, to: requests) }
        }
    }

    func subscriberOpened(cursor: String) {
        self.openingCursor = cursor
    }

    func pollCompleted(elements: ByteBuffer, cursor: String) { self.answer = String(buffer: elements) }

    func leave() async throws { try await self.stage.run { self.stage.fanout.onLoop { $0.unsubscribe(self.subscriber) } } }

    /// The payloads so far, and `gap` for gaps.
    func data() async throws -> [String] {
        var bytes = ByteBuffer()
        while let part = try await self.channel.readOutbound(as: ByteBuffer.self) { bytes.writeImmutableBuffer(part) }
        return try FrameDecoder.decode(bytes, .line).map { if case .event(_, _, _, let data) = $0 { String(decoding: data, as: UTF8.self) } else { "gap" } }
    }
}
