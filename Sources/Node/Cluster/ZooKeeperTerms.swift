import AdminAPI
import Coordination
import JSON
import NIOCore
import NIOPosix
import Sockets

/// How long a server of ZooKeeper serves on without the others, as the servers say it themselves by the administrator's word `conf`, where they allow it.
struct ZooKeeperTerms: Sendable {
    enum Answer: Hashable, Sendable {
        /// `syncLimit` times `tickTime`, in milliseconds.
        case syncLimit(Int)
        /// There are no others.
        case alone
        /// Why it is not known.
        case unknown(String)
    }

    var sessionMilliseconds: Int
    var answers: [(address: String, answer: Answer)]

    /// Of the text that `conf` answers.
    static func answer(_ text: String) -> Answer {
        if text.contains("not in the whitelist") { return .unknown("it does not allow the word conf (4lw.commands.whitelist)") }
        var values: [Substring: Int] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2, let value = Int(parts[1]) { values[parts[0]] = value }
        }
        guard let tick = values["tickTime"] else { return .unknown("it does not answer conf") }
        guard let limit = values["syncLimit"] else { return .alone }
        let (product, isOverflow) = tick.multipliedReportingOverflow(by: limit)
        return isOverflow ? .unknown("its syncLimit is \(limit)") : .syncLimit(product)
    }

    /// Asks all of them together, for two seconds at most.
    static func ask(_ servers: ZooKeeperServers, sessionMilliseconds: Int, _ group: any EventLoopGroup) async -> ZooKeeperTerms {
        let answers = await withTaskGroup(of: (Int, Answer).self) { tasks in
            for (index, server) in servers.addresses.enumerated() {
                tasks.addTask {
                    let text = try? await Self.text(of: "conf", at: server.host, Int(server.port), group)
                    return (index, text.map(Self.answer) ?? .unknown("it does not answer"))
                }
            }
            var answers = Array(repeating: Answer.unknown(""), count: servers.addresses.count)
            for await (index, answer) in tasks { answers[index] = answer }
            return answers
        }
        let addresses = servers.addresses.map { ListenAddress(host: $0.host, port: Int($0.port)).description }
        return ZooKeeperTerms(sessionMilliseconds: sessionMilliseconds, answers: Array(zip(addresses, answers)).map { ($0, $1) })
    }

    private static func text(of word: String, at host: String, _ port: Int, _ group: any EventLoopGroup) async throws -> String {
        let loop = group.next()
        let promise = loop.makePromise(of: String.self)
        do {
            let channel = try await ClientBootstrap(group: loop)
                .connectTimeout(.seconds(2))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Reader(promise)) }
                }
                .connect(host: host, port: port).get()
            channel.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
            channel.writeAndFlush(channel.allocator.buffer(string: word), promise: nil)
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }

    /// Gathers what comes until the server closes.
    private final class Reader: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private static let bytesMax = 16 << 10
        private let promise: EventLoopPromise<String>
        private var text = ByteBuffer()

        init(_ promise: EventLoopPromise<String>) { self.promise = promise }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            var bytes = self.unwrapInboundIn(data)
            self.text.writeBuffer(&bytes)
            if self.text.readableBytes > Self.bytesMax { context.close(promise: nil) }
        }

        func channelInactive(context: ChannelHandlerContext) {
            self.promise.succeed(String(buffer: self.text))
            context.fireChannelInactive()
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }

    /// The response of `GET /api/zookeeper`.
    var json: ByteBuffer {
        let servers = self.answers.map { address, answer -> ZooKeeperLimits.Server in
            switch answer {
            case .syncLimit(let milliseconds): .init(address: address, syncLimitMilliseconds: Int(milliseconds))
            case .alone: .init(address: address, syncLimitMilliseconds: 0)
            case .unknown(let reason): .init(address: address, unknown: reason)
            }
        }
        var writer = JSONWriter(ByteBuffer())
        ZooKeeperLimits(sessionMilliseconds: self.sessionMilliseconds, servers: servers).write(to: &writer)
        return writer.sink
    }
}
