import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import Storage

extension RedisServer {
    var address: RedisAddress { try! RedisAddress("redis://127.0.0.1:\(self.port)") }
}

extension RedisClientSettings {
    /// Tries again soon, so that tests need not wait.
    static var eager: Self {
        var settings = Self()
        settings.backoffMin = .milliseconds(5)
        settings.backoffMax = .milliseconds(50)
        // A busy machine must not end a connection.
        settings.deadline = .seconds(30)
        settings.connectDeadline = .seconds(30)
        // Tests count requests, and tell the proxy which of them to drop.
        settings.factsInterval = .seconds(10)
        return settings
    }
}

/// Runs the body with a client that has started, and closes it.
func withRedisClient(
    _ address: RedisAddress, _ settings: RedisClientSettings = .eager, scripts: [String] = [], logs: LogLines = LogLines(),
    _ body: (RedisClient) async throws -> Void
) async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let client = RedisClient(address: address, loop: loop, settings: settings, scripts: scripts, log: logs.logger)
    await client.start()
    do { try await body(client) } catch {
        await client.close()
        throw error
    }
    await client.close()
}

extension RedisClient {
    func waitUntilReady(at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("ready", at: location) { self.problem == nil }
    }

    func waitForProblem(_ part: String, at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("a problem with \(part)", at: location) { self.problem?.contains(part) == true }
    }

    func send(_ command: String, _ argument: String) async throws -> RedisReply { try await self.send([RedisRequest(command, argument)])[0].get() }
}

/// What was logged, as `level: message key=value`.
final class LogLines: Sendable {
    private let all = Mutex<[String]>([])

    var lines: [String] { self.all.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { self.metadata[key] }
            set { self.metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
            self.lines.all.withLock { $0.append("\(event.level): \(event.message)\(pairs)") }
        }
    }
}

/// A server in this process. The test chooses the replies. If the test chooses none, the server sends the usual reply.
final class ScriptedRedis: Sendable {
    enum Answer: Sendable {
        /// These bytes, as they are.
        case bytes(String)
        /// These bytes, and then the end of the connection.
        case last(String)
        case silence
    }

    /// - Parameters:
    ///   - words: of the request. Empty when the connection has been accepted.
    ///   - connection: counted from 1.
    typealias Script = @Sendable (_ words: [String], _ connection: Int) -> Answer?

    let channel: any Channel
    var address: RedisAddress { try! RedisAddress("redis://127.0.0.1:\(self.channel.localAddress!.port!)") }

    init(_ script: @escaping Script) async throws {
        let connections = Mutex(0)
        self.channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                let number = connections.withLock {
                    $0 += 1
                    return $0
                }
                return channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Handler(script: script, number: number)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    deinit { self.channel.close(promise: nil) }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let script: Script
        let number: Int
        private var received = ByteBuffer()

        init(script: @escaping Script, number: Int) {
            self.script = script
            self.number = number
        }

        func channelActive(context: ChannelHandlerContext) { self.answer([], context) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            self.received.writeImmutableBuffer(self.unwrapInboundIn(data))
            while let words = self.next() { self.answer(words, context) }
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

        private func answer(_ words: [String], _ context: ChannelHandlerContext) {
            switch self.script(words, self.number) ?? Self.usual(words) {
            case .bytes(let text): context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
            case .last(let text):
                context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
                context.close(promise: nil)
            case .silence: break
            }
        }

        private static func usual(_ words: [String]) -> Answer {
            func bulk(_ text: String) -> String { "$\(text.utf8.count)\r\n\(text)\r\n" }
            return switch words.first {
            case nil: .silence
            case "INFO": .bytes(bulk(RedisServerFactsTests.good))
            case "CONFIG": .bytes("*0\r\n")
            case "SCRIPT": .bytes(bulk(String(repeating: "a", count: 40)))
            default: .bytes("+OK\r\n")
            }
        }

        /// The words of the next request that is here whole.
        private func next() -> [String]? {
            var rest = self.received
            func number(_ first: UInt8) -> Int? {
                guard let end = rest.readableBytesView.firstIndex(of: 10), let line = rest.readString(length: end + 1 - rest.readerIndex) else { return nil }
                precondition(line.utf8.first == first, "\(line)")
                return Int(line.dropFirst().prefix { $0.isNumber })
            }
            guard let count = number(UInt8(ascii: "*")) else { return nil }
            var words: [String] = []
            for _ in 0..<count {
                guard let length = number(UInt8(ascii: "$")), let word = rest.readString(length: length), rest.readString(length: 2) != nil else { return nil }
                words.append(word)
            }
            self.received = rest
            return words
        }
    }
}
