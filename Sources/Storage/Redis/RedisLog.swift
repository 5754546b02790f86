package import Logging
import NIOConcurrencyHelpers
package import NIOCore
import NIOPosix
package import Partitioning
package import Pipeline

/// The log that all nodes of a cluster share: one stream for each channel, on one or several Redis servers.
///
/// ``RedisScripts`` has the keys and what Redis executes. This class turns calls of the log into requests, and replies into results. Each loop has its own
/// connection to each server, so a sequencer's append crosses no thread. What this process knows of its seals is in ``RedisSeals``, behind a lock, because loops
/// read while sequencers append.
///
/// The promise: an append that Redis has acknowledged is lost only if Redis loses it (`docs/reliability.md`). A loss is found by a fence that is missing, a head that
/// is lower than ours, or a server that is another one than at the seal; then ``LogError/Code/lost`` makes the owner seal again and compare heads.
package final class RedisLog: Log {
    let limits: Limits
    let clocks: Clocks
    let settings: RedisLogSettings
    let partitions: Partitions
    let seals = NIOLockedValueBox(RedisSeals())
    let counters = NIOLockedValueBox(Counters())
    /// By server, then by loop.
    private let clients: [[RedisClient]]
    private let loops: [ObjectIdentifier: Int]
    /// The keys of each partition's fence and heads, because every append names them.
    private let keys: [(fence: String, heads: String)]

    struct Counters {
        var commits: UInt64 = 0
        var failures: UInt64 = 0
        /// The last failure of each server. Nil after a success.
        var errors: [String?] = []
    }

    /// - Parameters:
    ///   - loops: of the sequencers, and of the loops that read.
    package init(
        settings: RedisLogSettings, loops: [any EventLoop], partitions: Partitions, limits: Limits, clocks: Clocks = .system, logger: Logger
    ) {
        precondition(!settings.servers.isEmpty && !loops.isEmpty, "A log on Redis needs a server and a loop")
        self.settings = settings
        self.partitions = partitions
        self.limits = limits
        self.clocks = clocks
        self.clients = settings.servers.map { address in
            loops.map { RedisClient(address: address, loop: $0, settings: settings.client, scripts: RedisScripts.all, log: logger) }
        }
        self.keys = (0..<partitions.count).map { (Self.key(settings.cluster, $0, "f"), Self.key(settings.cluster, $0, "h")) }
        self.loops = Dictionary(uniqueKeysWithValues: loops.enumerated().map { (ObjectIdentifier($1), $0) })
        self.counters.withLockedValue { $0.errors = Array(repeating: nil, count: settings.servers.count) }
    }

    /// Begins to connect, and returns before it is connected.
    package func start() async {
        for client in self.clients.joined() { await client.start() }
    }

    package func close() async {
        for client in self.clients.joined() { await client.close() }
    }

    // MARK: - Servers

    package var storages: Int { self.clients.count }

    /// The server of a partition, as ``Log/storages`` says. Another number of servers moves nearly all partitions: their channels begin new epochs.
    func server(of partition: PartitionID) -> Int { partition % self.clients.count }

    /// The connection of this loop to a server. Calls from other threads use the first loop's.
    func client(_ server: Int) -> RedisClient {
        let loop = MultiThreadedEventLoopGroup.currentEventLoop.flatMap { self.loops[ObjectIdentifier($0)] } ?? 0
        return self.clients[server][loop]
    }

    func sorted<Value>(_ values: [Value], by partition: (Value) -> PartitionID) -> [(server: Int, indices: [Int])] {
        if self.clients.count == 1 { return values.isEmpty ? [] : [(0, Array(values.indices))] }
        var sorted: [[Int]] = Array(repeating: [], count: self.clients.count)
        for (index, value) in values.enumerated() { sorted[self.server(of: partition(value))].append(index) }
        return sorted.enumerated().filter { !$1.isEmpty }.map { ($0, $1) }
    }

    // MARK: - Keys

    private static func key(_ cluster: String, _ partition: PartitionID, _ suffix: String) -> String { "rt:\(cluster):{\(partition)}:\(suffix)" }

    func fence(_ partition: PartitionID) -> String {
        self.keys.indices.contains(partition) ? self.keys[partition].fence : Self.key(self.settings.cluster, partition, "f")
    }

    func heads(_ partition: PartitionID) -> String {
        self.keys.indices.contains(partition) ? self.keys[partition].heads : Self.key(self.settings.cluster, partition, "h")
    }

    func stream(_ partition: PartitionID, _ channel: ChannelName) -> String { Self.key(self.settings.cluster, partition, "s:\(channel.string)") }

    // MARK: - Owning

    package func seal(_ grants: [Grant]) async -> [Result<SealedPartition, LogError>] {
        var results: [Result<SealedPartition, LogError>] = grants.map { _ in .failure(.noServer) }
        for (server, indices) in self.sorted(grants, by: \.partition) {
            // In slices: one script of all partitions would keep Redis from its other clients.
            for slice in indices.slices(of: Self.partitionsMax) {
                for (index, result) in zip(slice, await self.seal(slice.map { grants[$0] }, on: server)) { results[index] = result }
            }
        }
        return results
    }

    static let partitionsMax = 256

    private func seal(_ grants: [Grant], on server: Int) async -> [Result<SealedPartition, LogError>] {
        let client = self.client(server)
        do throws(LogError) {
            // An identity that is a second old could hide a loss from the seal, and heads would be trusted that are not.
            _ = await client.freshSession()
            let session = try await self.session(of: client)
            var request = RedisRequest(.seal, on: session, keyCount: grants.count, argumentCount: 1 + 3 * grants.count)
            for grant in grants { request.append(self.fence(grant.partition)) }
            request.append(session.storage)
            let known = self.seals.withLockedValue { seals in
                grants.map { (leastFloor: seals.leastFloor(sealing: $0), number: seals[$0.partition]?.number ?? 0) }
            }
            for (grant, known) in zip(grants, known) {
                request.append(grant.ownerEpoch)
                request.append(known.leastFloor)
                request.append(known.number)
            }
            let reply = try await self.reply(to: request, from: client, of: server, storage: session.storage)
            guard let numbers = reply.integers, numbers.count == 6 * grants.count else { throw .unexpected(reply, client.address) }
            return grants.indices.map { index in
                let found = Array(numbers[(6 * index)..<(6 * index + 6)])
                if found[0] == RedisScripts.Status.foreign { return .failure(.foreign(grants[index], client.address)) }
                guard found[0] == RedisScripts.Status.done else { return .failure(.fenced(grants[index], by: found[1])) }
                self.seals.withLockedValue {
                    var seal = RedisSeals.Seal(
                        ownerEpoch: grants[index].ownerEpoch, floor: UInt64(clamping: found[3]), trusted: UInt64(clamping: found[4]), number: found[5],
                        storage: session.storage)
                    if let old = $0[grants[index].partition] {
                        // A reply that is late: the partition is sealed under a newer owner epoch already.
                        if old.ownerEpoch > seal.ownerEpoch || old.ownerEpoch == seal.ownerEpoch && old.number > seal.number { return }
                        seal.isAmbiguous = old.isAmbiguous && old.ownerEpoch == seal.ownerEpoch
                        seal.channelCount = old.channelCount
                    }
                    $0[grants[index].partition] = seal
                }
                return .success(
                    SealedPartition(
                        epochFloor: UInt64(clamping: found[3]), previousOwnerEpoch: found[1] == 0 ? nil : found[1], keptEverything: found[2] == 1))
            }
        } catch {
            return grants.map { _ in .failure(error) }
        }
    }

    package func release(_ grants: [Grant]) async {
        self.seals.withLockedValue { seals in for grant in grants { seals.release(grant) } }
    }

    package func verify(_ grants: [Grant]) async -> [Result<Void, LogError>] {
        var results: [Result<Void, LogError>] = grants.map { _ in .success(()) }
        for (server, indices) in self.sorted(grants, by: \.partition) {
            let client = self.client(server)
            for slice in indices.slices(of: Self.partitionsMax) {
                for (index, result) in zip(slice, await self.verify(slice.map { grants[$0] }, client, server)) { results[index] = result }
            }
        }
        return results
    }

    /// A server that does not answer is no loss: its partitions wait.
    private func verify(_ grants: [Grant], _ client: RedisClient, _ server: Int) async -> [Result<Void, LogError>] {
        guard let session = await client.session else { return grants.map { _ in .success(()) } }
        var request = RedisRequest(.verify, on: session, keyCount: 2 * grants.count, argumentCount: grants.count)
        for grant in grants {
            request.append(self.fence(grant.partition))
            request.append(self.heads(grant.partition))
        }
        for grant in grants { request.append(grant.ownerEpoch) }
        guard let numbers = try? await self.reply(to: request, from: client, of: server, storage: session.storage).integers, numbers.count == 3 * grants.count
        else {
            return grants.map { _ in .success(()) }
        }
        return grants.enumerated().map { index, grant in
            self.seals.withLockedValue { seals in
                // Sealed again or released meanwhile: the next call looks again.
                guard let seal = try? seals.seal(grant) else { return .success(()) }
                seals[grant.partition]!.channelCount = Int(clamping: numbers[3 * index + 2])
                switch numbers[3 * index] {
                case RedisScripts.Status.fenced: return .failure(.fenced(grant, by: numbers[3 * index + 1]))
                case RedisScripts.Status.unsealed: return .failure(.lostSeal(grant, client.address))
                default: return seal.storage == session.storage ? .success(()) : .failure(.otherStorage(grant, client.address))
                }
            }
        }
    }

    // MARK: - Replies

    func session(of client: RedisClient) async throws(LogError) -> RedisClient.Session {
        if let session = await client.session { return session }
        throw LogError(.unavailable, await client.problem ?? "Redis at \(client.address.hostAndPort) is not connected")
    }

    /// Sends one request and returns its reply. Throws if the reply is an error, or if there is no reply. Loads the scripts if Redis has forgotten them.
    ///
    /// - Parameter storage: the request is sent only to the server with this identity. A script that compares owner epochs cannot see that its server is a replica
    ///   that was promoted since the seal.
    func reply(to request: RedisRequest, from client: RedisClient, of server: Int, storage: String?) async throws(LogError) -> RedisReply {
        var result = await client.send([request], to: storage)[0]
        if result.isMissingScript, await self.loadScripts(client) { result = await client.send([request], to: storage)[0] }
        do throws(LogError) {
            let reply = try Self.reply(result, client.address)
            self.counters.withLockedValue { $0.errors[server] = nil }
            return reply
        } catch {
            self.counters.withLockedValue {
                $0.failures += 1
                $0.errors[server] = error.message
            }
            throw error
        }
    }

    func loadScripts(_ client: RedisClient) async -> Bool {
        let replies = await client.send(RedisScripts.all.map { RedisRequest("SCRIPT", "LOAD", $0) })
        return replies.allSatisfy { if case .success(.error) = $0 { false } else if case .failure = $0 { false } else { true } }
    }

    static func reply(_ result: Result<RedisReply, RedisRequestError>, _ address: RedisAddress) throws(LogError) -> RedisReply {
        switch result {
        case .success(.error(let message)): throw .failed(message, address)
        case .success(let reply): return reply
        case .failure(.notSent(let reason)): throw LogError(.unavailable, reason)
        case .failure(.noReply(let reason)): throw LogError(.uncertain, reason)
        }
    }

    // MARK: - Metrics

    package var metrics: LogMetrics {
        get async {
            let (counters, channels) = (self.counters.withLockedValue { $0 }, self.seals.withLockedValue { $0.channelCount })
            var bytes = 0
            var problems: [String] = []
            var warnings: [String] = []
            for (server, clients) in self.clients.enumerated() {
                bytes += Int(clamping: await clients[0].facts?.usedMemory ?? 0)
                warnings += await clients[0].facts?.warnings(at: clients[0].address.hostAndPort) ?? []
                // A connection that is lost is known before a call fails. Each loop has its own connection.
                var problem: String?
                for client in clients where problem == nil { problem = await client.problem }
                if let problem = problem ?? counters.errors[server] { problems.append(problem) }
            }
            // A node is not ready with an error. While some servers work, it serves their partitions.
            let isPartial = !problems.isEmpty && problems.count < self.clients.count
            if isPartial {
                warnings.insert(
                    "\(problems.count) of \(self.clients.count) servers cannot be used, so publishes to their channels get 503: \(problems[0])", at: 0)
            }
            return LogMetrics(
                kind: "redis", path: self.settings.servers.map(\.description).joined(separator: ","), durability: self.settings.durability, events: 0,
                bytes: bytes, channels: channels, commits: counters.commits, failures: counters.failures,
                error: isPartial ? nil : problems.first, warning: warnings.first)
        }
    }
}

/// How a node uses Redis.
package struct RedisLogSettings: Sendable {
    /// Part of every key, so that several clusters can share a server.
    package var cluster: String
    package var servers: [RedisAddress]
    package var client: RedisClientSettings
    /// Replicas that must confirm a commit. 0 does not wait.
    package var replicasMin = 0
    /// How long a commit waits for the replicas.
    package var replicaMillisecondsMax = 500
    /// Replaces the servers' clocks, in tests.
    var clock: (@Sendable () -> Int64)?

    package init(cluster: String, servers: [RedisAddress], client: RedisClientSettings = RedisClientSettings()) {
        self.cluster = cluster
        self.servers = servers
        self.client = client
    }

    var durability: String { self.replicasMin == 0 ? "as Redis is configured" : "as Redis is configured, and on \(self.replicasMin) replicas" }
}

extension Array {
    /// Consecutive parts of at most `count` elements.
    func slices(of count: Int) -> [[Element]] { stride(from: 0, to: self.count, by: count).map { Array(self[$0..<Swift.min($0 + count, self.count)]) } }
}

extension LogError {
    static let noServer = LogError(.unavailable, "no Redis server is configured for this partition")

    static func lostSeal(_ grant: Grant, _ address: RedisAddress) -> LogError {
        LogError(
            .lost, "Redis at \(address.hostAndPort) has no seal for \(grant): it has lost data, or was restarted without it; the partition is sealed again")
    }

    static func foreign(_ grant: Grant, _ address: RedisAddress) -> LogError {
        LogError(
            .unavailable,
            "Redis at \(address.hostAndPort): a key of partition \(grant.partition) has another type, so another program writes keys that begin with rt:; "
                + "delete the key, and stop that program")
    }

    static func otherStorage(_ grant: Grant, _ address: RedisAddress) -> LogError {
        LogError(
            .lost, "Redis at \(address.hostAndPort) was restarted, replaced or has evicted keys since \(grant) was sealed; the partition is sealed again")
    }

    static func lostEvents(_ grant: Grant, _ channel: String, _ address: RedisAddress) -> LogError {
        LogError(.lost, "Redis at \(address.hostAndPort) has lost events of \(channel) (\(grant)); the channel begins a new epoch")
    }

    /// An error reply that ``RedisRefusal`` does not know. A script may have written before it.
    static func failed(_ message: String, _ address: RedisAddress) -> LogError {
        let advice =
            switch message.prefix(while: { $0 != " " }) {
            case "NOPERM": "this user may not use the keys and commands of the log: extend its ACL"
            case "WRONGTYPE": "a key of the log has another type, so another program writes keys that begin with rt:"
            case "NOSCRIPT": "it has forgotten the log's scripts"
            default: "it refused a request"
            }
        return LogError(.unavailable, "Redis at \(address.hostAndPort): \(advice) (\(message.prefix(200)))")
    }

    static func unexpected(_ reply: RedisReply, _ address: RedisAddress) -> LogError {
        LogError(.unusable, "Redis at \(address.hostAndPort) sent a reply that this version does not understand: \("\(reply)".prefix(200))")
    }
}
