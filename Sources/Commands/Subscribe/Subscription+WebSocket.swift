import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import NIOConcurrencyHelpers

extension Subscription {
    private enum Upgrade: Sendable {
        case upgraded(NIOAsyncChannel<WebSocketFrame, WebSocketFrame>)
        case refused(NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>)
    }

    private static let messageBytesMax = 128 * 1024 * 1024

    func connectWebSocket(since cursor: String?, _ each: (Delivery) async throws -> Void) async throws {
        guard !self.base.isSecure else {
            throw CommandError(.critical, "This command does not support WebSocket over https. Use --transport sse, or an http URL of the node.")
        }
        switch try await self.upgrade(Request(path: self.path(since: cursor)).head(to: self.base)) {
        case .refused(let channel):
            throw Subscription.refusal(try await Subscription.refusedResponse(on: channel), by: self.base)
        case .upgraded(let channel):
            try await Subscription.receive(on: channel, each)
        }
    }

    // MARK: opening

    private func upgrade(_ request: HTTPRequestHead) async throws -> Upgrade {
        let attempts = ConnectionAttempts()
        do {
            return try await withTaskCancellationHandler {
                try await Connecting.bootstrap().connect(host: self.base.host, port: self.base.port) { channel in
                    attempts.add(channel)
                    return channel.eventLoop.makeCompletedFuture { try Subscription.configure(channel, request) }
                }.get()
            } onCancel: {
                attempts.cancel()
            }
        } catch {
            throw Subscription.disconnected(error)
        }
    }

    private static func configure(_ channel: any Channel, _ head: HTTPRequestHead) throws -> EventLoopFuture<Upgrade> {
        let upgrader = NIOTypedWebSocketClientUpgrader<Upgrade>(maxFrameSize: self.messageBytesMax) { channel, _ in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandlers([
                    NIOWebSocketFrameAggregator(
                        minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1 << 20, maxAccumulatedFrameSize: self.messageBytesMax),
                    IdleStateHandler(readTimeout: TimeAmount(self.silenceMax)), SilenceHandler(),
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

    /// The response of a node that refused the upgrade.
    private static func refusedResponse(on channel: NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>) async throws -> Response {
        do {
            return try await channel.executeThenClose { inbound, _ in
                var assembler = ResponseAssembler()
                for try await part in inbound {
                    if let response = try assembler.append(part) { return response }
                }
                throw ChannelError.eof
            }
        } catch {
            throw Subscription.disconnected(error)
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
                        // The client returns the same code, which completes the closing handshake.
                        try? await outbound.write(WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: frame.data))
                        throw Subscription.closed(frame.data)
                    default:
                        break
                    }
                }
            } catch {
                let failure = Subscription.disconnected(error)
                // If the node has not ended the connection, this client sends a close frame.
                if !(failure is DisconnectedError) {
                    let close = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: ByteBuffer(integer: UInt16(1000)))
                    try? await outbound.write(close)
                }
                throw failure
            }
        }
    }

    /// The error for a close frame.
    static func closed(_ data: ByteBuffer) -> any Error {
        var data = data
        let code = data.readInteger(as: UInt16.self)
        let text = data.readString(length: data.readableBytes) ?? ""
        let reason = "the node closed the WebSocket with \(code.map { "code \($0)" } ?? "no code")" + (text.isEmpty ? "" : ": \(text)")
        switch code {
        case 1002, 1003, 1007, 1008, 1009: return CommandError(.critical, "\(reason). A new connection would end in the same way.")
        case 1012: return DisconnectedError(reason: reason, retryAfter: .seconds(Int.random(in: 1...4)))
        default: return DisconnectedError(reason: reason)
        }
    }
}

/// Closes a connection on which no data arrives, not even heartbeats.
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

/// The connections that are being opened. NIO ignores a cancellation while it connects, so this type closes the connections of a cancelled task.
private final class ConnectionAttempts: Sendable {
    private struct State {
        var channels: [any Channel] = []
        var isCancelled = false
    }

    private let state = NIOLockedValueBox(State())

    func add(_ channel: any Channel) {
        let isCancelled = self.state.withLockedValue { state in
            state.channels.append(channel)
            return state.isCancelled
        }
        if isCancelled { channel.close(promise: nil) }
    }

    func cancel() {
        let channels = self.state.withLockedValue { state in
            state.isCancelled = true
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}
