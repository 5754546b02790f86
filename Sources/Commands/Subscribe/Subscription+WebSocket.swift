import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

extension Subscription {
    private enum Upgrade: Sendable {
        case upgraded(NIOAsyncChannel<WebSocketFrame, WebSocketFrame>)
        case refused(NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>)
    }

    private static let messageBytesMax = 128 * 1024 * 1024

    func connectWebSocket(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        guard !self.base.isSecure else {
            throw Failure(.critical, "WebSocket over https is not spoken here: use --transport sse, or the node's own port.")
        }
        switch try await self.upgrade(self.base.path + self.path(since: cursor)) {
        case .refused(let channel):
            throw Subscription.refusal(try await Subscription.answer(on: channel), by: self.base)
        case .upgraded(let channel):
            try await Subscription.receive(on: channel, each)
        }
    }

    // MARK: opening

    private func upgrade(_ uri: String) async throws -> Upgrade {
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: uri)
        head.headers.add(name: "Host", value: self.base.authority)
        let request = head
        let attempts = ConnectionAttempts()
        do {
            return try await withTaskCancellationHandler {
                try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .connectTimeout(.seconds(10))
                    .connect(host: self.base.host, port: self.base.port) { channel in
                        attempts.add(channel)
                        return channel.eventLoop.makeCompletedFuture { try Subscription.configure(channel, request) }
                    }.get()
            } onCancel: {
                attempts.cancel()
            }
        } catch {
            throw Subscription.ending(error)
        }
    }

    private static func configure(_ channel: any Channel, _ head: HTTPRequestHead) throws -> EventLoopFuture<Upgrade> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Upgrade>(maxFrameSize: self.messageBytesMax) { channel, _ in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers([
                    NIOWebSocketFrameAggregator(
                        minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1 << 20, maxAccumulatedFrameSize: self.messageBytesMax),
                    IdleStateHandler(readTimeout: .nanoseconds(Int64(self.silenceMax.seconds * 1e9))), SilenceHandler(),
                ])
                return .upgraded(try NIOAsyncChannel(wrappingChannelSynchronously: channel))
            }
        }
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<Upgrade>(upgradeRequestHead: head, upgraders: [upgrader]) { channel in
            channel.eventLoop.makeCompletedFuture { .refused(try NIOAsyncChannel(wrappingChannelSynchronously: channel)) }
        }
        var configuration = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
        // The first frames may arrive together with the response to the upgrade.
        configuration.leftOverBytesStrategy = .forwardBytes
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: configuration)
    }

    private static func answer(on channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>) async throws -> Answer {
        do {
            return try await channel.executeThenClose { inbound, _ in
                var answer = Answer(status: 0, headers: [:], body: [])
                parts: for try await part in inbound {
                    switch part {
                    case .head(let head):
                        answer.status = Int(head.status.code)
                        answer.headers = head.headers
                    case .body(let bytes):
                        answer.body += bytes.readableBytesView
                    case .end:
                        break parts
                    }
                }
                return answer
            }
        } catch {
            throw Subscription.ending(error)
        }
    }

    // MARK: receiving

    private static func receive(on channel: NIOAsyncChannel<WebSocketFrame, WebSocketFrame>, _ each: (Delivery) async throws -> Void) async throws {
        try await channel.executeThenClose { inbound, outbound in
            do {
                try await each(.connected)
                for try await frame in inbound {
                    switch frame.opcode {
                    case .text:
                        if let delivery = Delivery(json: Array(frame.data.readableBytesView)) { try await each(delivery) }
                    case .ping:
                        try await outbound.write(WebSocketFrame(fin: true, opcode: .pong, maskKey: .random(), data: frame.unmaskedData))
                        try await each(.heartbeat)
                    case .connectionClose:
                        // Sending the same code back completes the close.
                        try? await outbound.write(WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: frame.data))
                        throw Subscription.closed(frame.data)
                    default:
                        break
                    }
                }
            } catch {
                let ending = Subscription.ending(error)
                // This client ends the connection, and sends a close.
                if !(ending is Disconnected) {
                    let bye = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: ByteBuffer(integer: UInt16(1000)))
                    try? await outbound.write(bye)
                }
                throw ending
            }
        }
    }

    /// The reaction to a close code.
    static func closed(_ data: ByteBuffer) -> any Error {
        var data = data
        let code = data.readInteger(as: UInt16.self)
        let words = data.readString(length: data.readableBytes) ?? ""
        let reason = "the node closed with \(code.map { String($0) } ?? "no code")" + (words.isEmpty ? "" : ": \(words)")
        switch code {
        case 1002, 1003, 1007, 1008, 1009: return Failure(.critical, reason + ". Another connection would end the same way.")
        case 1012: return Disconnected(reason: reason, retryAfter: .seconds(Int.random(in: 1...4)))
        default: return Disconnected(reason: reason)
        }
    }
}

/// Closes a connection on which nothing arrives any more, not even heartbeats.
private final class SilenceHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }
}

/// The connections that are being opened. Opening ignores cancellation, so a cancelled task closes them instead of waiting.
private final class ConnectionAttempts: Sendable {
    private struct State {
        var channels: [any Channel] = []
        var isCancelled = false
    }

    private let state = Mutex(State())

    func add(_ channel: any Channel) {
        let isCancelled = self.state.withLock { state in
            state.channels.append(channel)
            return state.isCancelled
        }
        if isCancelled { channel.close(promise: nil) }
    }

    func cancel() {
        let channels = self.state.withLock { state in
            state.isCancelled = true
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
