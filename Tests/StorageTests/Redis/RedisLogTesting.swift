import Logging
import NIOCore
import NIOPosix
import Partitioning
import Pipeline
import Synchronization
import TestKit
import Testing

@testable import Storage

/// Runs the body with a log on Redis that is connected, and closes the log. By default on the shared server, with keys of its own.
func withRedisLog<Value>(
    port: UInt16? = nil, cluster: String? = nil, partitions: Partitions = Partitions(count: 1), limits: Limits = Limits(), clocks: Clocks? = nil,
    _ change: (inout RedisLogSettings) -> Void = { _ in }, _ body: (RedisLog, RedisServer) async throws -> Value
) async throws -> Value {
    let server = try await RedisServer.shared()
    var settings = RedisLogSettings(
        cluster: cluster ?? "test-\(RedisClusters.next())", servers: [try RedisAddress("redis://127.0.0.1:\(port ?? server.port)")])
    // With a test's clock, also the server's time is the test's.
    settings.clock = clocks?.wall
    change(&settings)
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let log = RedisLog(settings: settings, loops: [loop], partitions: partitions, limits: limits, clocks: clocks ?? .system, logger: LogLines().logger)
    await log.start()
    do {
        try await log.waitUntilConnected()
        let value = try await body(log, server)
        await log.close()
        return value
    } catch {
        await log.close()
        throw error
    }
}

private enum RedisClusters {
    private static let last = Mutex(0)

    static func next() -> Int {
        self.last.withLock {
            $0 += 1
            return $0
        }
    }
}

extension RedisLog {
    /// - Parameter generation: the connection must be newer than this one, which the log may not have noticed to be dead.
    func waitUntilConnected(after generation: UInt64 = 0, at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("the log is not connected", at: location) {
            let client = self.client(0)
            guard await client.generation > generation else { return false }
            return await client.session != nil
        }
    }

    var generation: UInt64 {
        get async { await self.client(0).generation }
    }

    func waitUntilDisconnected(at location: SourceLocation = #_sourceLocation) async throws {
        try await eventually("the log is connected", at: location) { await self.client(0).session == nil }
    }

    /// Writes the fences of these partitions as if they had been sealed on this server from the beginning: then heads of any epoch are trusted.
    ///
    /// The first seal of a partition trusts no head that is already there, and tests of all logs use low epochs.
    func trustEpochs(of partitions: [PartitionID], on server: RedisServer) async throws {
        let storage = try #require(await self.client(0).session?.storage)
        for partition in partitions { try server.command(["HSET", self.fence(partition), "oe", "0", "floor", "0", "trusted", "0", "storage", storage]) }
    }
}
