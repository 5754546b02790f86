import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestKit
import Testing

@testable import Storage

/// A real redis-server on a free port of 127.0.0.1, in a temporary folder. It is killed when its last reference goes.
final class LocalRedis: Sendable {
    let port: UInt16
    let folder: URL
    private let options: [String]
    private let process = Mutex<SpawnedProcess?>(nil)

    /// - Parameter options: of redis-server's command line, as `--maxmemory-policy`, `allkeys-lru`.
    init(_ options: [String] = []) async throws {
        self.port = LoopbackSocket.freePorts(1)[0]
        self.folder = TemporaryFolder.make()
        self.options = options
        try await self.start()
    }

    deinit { self.kill() }

    var address: RedisAddress { try! RedisAddress("redis://127.0.0.1:\(self.port)") }

    func start() async throws {
        let arguments =
            ["/usr/bin/redis-server", "--port", "\(self.port)", "--bind", "127.0.0.1", "--dir", self.folder.path, "--save", "", "--appendonly", "no"]
            + self.options
        let process = try SpawnedProcess(arguments, log: self.folder.appending(path: "log").path)
        self.process.withLock { $0 = process }
        try await eventually("redis-server listens") { LoopbackSocket.connected(to: self.port) != nil }
    }

    func kill() { self.process.withLock { $0.take()?.kill() } }

    /// Its connections stay open and silent.
    func pause() { self.process.withLock { $0?.stop() } }

    func resume() { self.process.withLock { $0?.signal(SIGCONT) } }
}

/// Runs the body with a client that has started, and closes it.
func withRedisClient(
    _ address: RedisAddress, _ settings: RedisClientSettings = RedisClientSettings(), scripts: [String] = [], logs: LogLines = LogLines(),
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
