import AdminAPI
import Coordination
import NIOCore
import NIOPosix
import Pipeline
import Sockets

/// Sends the command `conf` to each ZooKeeper server, and reads how long the server serves clients after it has lost the other servers.
extension ZooKeeperLimits {
    /// Requests the limits of all servers in parallel.
    static func read(from servers: ZooKeeperServers, sessionMilliseconds: Int, _ group: any EventLoopGroup) async -> ZooKeeperLimits {
        var found = servers.addresses.map { Server(address: ListenAddress(host: $0.host, port: Int($0.port)).description) }
        await withTaskGroup(of: (Int, String?).self) { tasks in
            for (index, server) in servers.addresses.enumerated() {
                tasks.addTask { (index, try? await Self.response(to: "conf", from: server.host, Int(server.port), group)) }
            }
            for await (index, text) in tasks { found[index].parse(text) }
        }
        return ZooKeeperLimits(sessionMilliseconds: sessionMilliseconds, servers: found)
    }

    private static func response(to command: String, from host: String, _ port: Int, _ group: any EventLoopGroup) async throws -> String {
        let loop = group.next()
        let promise = loop.makePromise(of: String.self)
        let limit = TimeAmount.seconds(Int64(FixedLimits.zooKeeperResponseSecondsMax))
        do {
            let channel = try await ClientBootstrap(group: loop)
                .connectTimeout(limit)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(ResponseHandler(promise)) }
                }
                .connect(host: host, port: port).get()
            channel.eventLoop.scheduleTask(in: limit) { channel.close(promise: nil) }
            channel.writeAndFlush(channel.allocator.buffer(string: command), promise: nil)
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }
}

extension ZooKeeperLimits.Server {
    /// - Parameter response: the response to `conf`, nil if the server did not respond.
    mutating func parse(_ response: String?) {
        guard let response else { return self.unknown = "the server does not respond" }
        if response.contains("not in the whitelist") { return self.unknown = "the server does not allow the command conf (4lw.commands.whitelist)" }
        var values: [Substring: Int] = [:]
        for line in response.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2, let value = Int(parts[1]) { values[parts[0]] = value }
        }
        guard let tick = values["tickTime"] else { return self.unknown = "the server does not respond to conf" }
        // A standalone server has no syncLimit.
        let (product, isOverflow) = tick.multipliedReportingOverflow(by: values["syncLimit"] ?? 0)
        guard !isOverflow else { return self.unknown = "the syncLimit of the server is too large: \(values["syncLimit"]!)" }
        self.syncLimitMilliseconds = product
    }
}

/// Collects bytes until the server closes the connection.
private final class ResponseHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let promise: EventLoopPromise<String>
    private var text = ByteBuffer()

    init(_ promise: EventLoopPromise<String>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = self.unwrapInboundIn(data)
        self.text.writeBuffer(&bytes)
        if self.text.readableBytes > FixedLimits.zooKeeperResponseBytesMax { context.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        self.promise.succeed(String(buffer: self.text))
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
