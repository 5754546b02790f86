import NIOConcurrencyHelpers
import NIOCore
import Partitioning
package import Pipeline

extension RedisLog {
    /// Sends the batch in calls of bounded size, pipelined: Redis executes them in order, and no other client waits longer than for one of them.
    package func append(_ batch: LogBatch) async -> [Result<Void, LogError>] {
        guard !batch.isEmpty else { return [] }
        var results: [Result<Void, LogError>?] = Array(repeating: nil, count: batch.grants.count)
        for (server, indices) in self.sorted(batch.grants, by: \.partition) {
            // One after another only if a batch has partitions of several servers; a sequencer has partitions of one.
            await self.append(batch, grants: indices, on: server, into: &results)
        }
        self.counters.withLockedValue { $0.commits += 1 }
        return results.map { $0 ?? .failure(.noServer) }
    }

    private func append(_ batch: LogBatch, grants indices: [Int], on server: Int, into results: inout [Result<Void, LogError>?]) async {
        let client = self.client(server)
        let session = await client.session
        let problem = session == nil ? await client.problem ?? "Redis at \(client.address.hostAndPort) is not connected" : nil
        var usable: [Int] = []
        var numbers: [Int64] = Array(repeating: 0, count: batch.grants.count)
        self.seals.withLockedValue { seals in
            for index in indices {
                do throws(LogError) {
                    let seal = try seals.seal(batch.grants[index])
                    if let problem { throw LogError(seal.isAmbiguous ? .uncertain : .unavailable, problem) }
                    if seal.storage != session?.storage { throw .otherStorage(batch.grants[index], client.address) }
                    usable.append(index)
                    numbers[index] = seal.number
                } catch {
                    results[index] = .failure(error)
                }
            }
        }
        guard let session, !usable.isEmpty else { return }
        let calls = AppendCalls(batch, grants: usable)
        // A script that Redis has forgotten is loaded, and everything is sent again: what was stored meanwhile is skipped.
        for attempt in 0... {
            var requests = calls.calls.map { self.request($0, of: batch, seals: numbers, on: session) }
            if self.settings.replicasMin > 0 {
                requests.append(RedisRequest("WAIT", "\(self.settings.replicasMin)", "\(self.settings.replicaMillisecondsMax)"))
            }
            let replies = await client.send(requests, to: session.storage)
            if attempt < 3, replies.contains(where: \.isMissingScript), await self.loadScripts(client) { continue }
            self.end(batch, calls, usable, replies, client.address, server, into: &results)
            return
        }
    }

    /// The request for one call.
    private func request(_ call: AppendCalls.Call, of batch: LogBatch, seals: [Int64], on session: RedisClient.Session) -> RedisRequest {
        var numbers = Array(repeating: 0, count: batch.grants.count)
        for (number, grant) in call.grants.enumerated() { numbers[Int(grant)] = number + 1 }
        var request = RedisRequest(
            .append, on: session, keyCount: 2 * call.grants.count, argumentCount: 3 + 2 * call.grants.count + 6 * call.events.count,
            capacity: call.bytes + 160 * call.events.count)
        for grant in call.grants {
            let partition = batch.grants[Int(grant)].partition
            request.append(self.fence(partition))
            request.append(self.heads(partition))
        }
        request.append(self.limits.historyEventsMax)
        request.append(self.limits.historySecondsMax * 1000 + Self.expiryReserve)
        request.append(self.time)
        for grant in call.grants {
            request.append(batch.grants[Int(grant)].ownerEpoch)
            request.append(seals[Int(grant)])
        }
        var metadata = ByteBuffer()
        for index in call.events {
            let event = batch.events[index]
            request.append(numbers[Int(batch.grantIndices[index])])
            request.append(event.event.channel.string)
            request.append(event.position.epoch)
            request.append(event.position.offset)
            metadata.clear()
            RedisEvent.writeMetadata(of: event, into: &metadata)
            request.append(metadata)
            request.append(event.event.payload)
        }
        return request
    }

    /// Milliseconds that Redis keeps a stream after its last event has expired. More than the 30 seconds after which the script sets the expiry again.
    private static let expiryReserve = 60_000

    private func end(
        _ batch: LogBatch, _ calls: AppendCalls, _ usable: [Int], _ replies: [Result<RedisReply, RedisRequestError>], _ address: RedisAddress, _ server: Int,
        into results: inout [Result<Void, LogError>?]
    ) {
        // By grant of the batch.
        var outcomes = Array(repeating: PartitionOutcome(), count: batch.grants.count)
        for (call, result) in zip(calls.calls, replies) {
            do throws(LogError) {
                let reply = try Self.reply(result, address)
                guard case .array(let values) = reply, values.count == 2 * call.grants.count else { throw .unexpected(reply, address) }
                for (number, grant) in call.grants.enumerated() {
                    let error = self.error(status: values[2 * number], detail: values[2 * number + 1], batch.grants[Int(grant)], address)
                    outcomes[Int(grant)].add(error)
                }
            } catch {
                var error = error
                // An error of a script that had passed its checks: it may have written.
                if case .success(.error(let text)) = result, text.contains(" script: ") { error = LogError(.uncertain, error.message) }
                for grant in call.grants { outcomes[Int(grant)].add(error) }
            }
        }
        var notReplicated: LogError?
        if self.settings.replicasMin > 0, let last = replies.last {
            // The events are stored, and may be lost with this server: the commit is repeated until the replicas have it.
            if case .success(.integer(let count)) = last, count >= Int64(self.settings.replicasMin) {
            } else {
                notReplicated = LogError(
                    .uncertain,
                    "Redis at \(address.hostAndPort): fewer than \(self.settings.replicasMin) replicas have confirmed the commit; start a replica, or lower redis-replicas-min"
                )
            }
        }
        var failure: LogError?
        self.seals.withLockedValue { seals in
            for index in usable {
                let partition = batch.grants[index].partition
                var result = outcomes[index].result
                if case .success = result, let notReplicated { result = .failure(notReplicated) }
                // Redis has not executed this repeat of an append that it may have executed before.
                if case .failure(let error) = result, error.code == .unavailable, seals[partition]?.isAmbiguous == true {
                    result = .failure(LogError(.uncertain, error.message))
                }
                if case .failure(let error) = result {
                    failure = error
                    if error.code == .uncertain { seals[partition]?.isAmbiguous = true } else { seals[partition]?.isAmbiguous = false }
                } else {
                    seals[partition]?.isAmbiguous = false
                }
                results[index] = result
            }
        }
        self.counters.withLockedValue {
            if failure != nil { $0.failures += 1 }
            $0.errors[server] = failure?.message
        }
    }

    private func error(status: RedisReply, detail: RedisReply, _ grant: Grant, _ address: RedisAddress) -> LogError? {
        switch status {
        case .integer(RedisScripts.Status.done): nil
        case .integer(RedisScripts.Status.fenced): .fenced(grant, by: detail.text.flatMap { OwnerEpoch($0) } ?? grant.ownerEpoch + 1)
        case .integer(RedisScripts.Status.unsealed): .lostSeal(grant, address)
        case .integer(RedisScripts.Status.gap): .lostEvents(grant, detail.text ?? "a channel", address)
        case .integer(RedisScripts.Status.overtaken):
            LogError(
                .fenced,
                "\(detail.text ?? "a channel") has begun a newer epoch in Redis at \(address.hostAndPort): seal the partition again and sequence the event again"
            )
        case .integer(RedisScripts.Status.foreign): .foreign(grant, address)
        case .integer(RedisScripts.Status.failed): LogError(.uncertain, LogError.failed(detail.text ?? "", address).message)
        default: .unexpected(status, address)
        }
    }
}

/// The result of a partition whose events are in several calls.
struct PartitionOutcome {
    private var isStored = false
    private var error: LogError?

    mutating func add(_ error: LogError?) {
        if let error {
            // The first one: later calls of the partition fail because of it.
            if self.error == nil { self.error = error }
        } else {
            // Also after an earlier call was refused: Redis executes each call by itself.
            self.isStored = true
        }
    }

    /// If some calls were executed and a later one was not, the whole is repeated, and what is stored is skipped.
    var result: Result<Void, LogError> {
        guard let error = self.error else { return .success(()) }
        if self.isStored, error.code == .unavailable { return .failure(LogError(.uncertain, error.message)) }
        return .failure(error)
    }
}

/// Splits a batch into calls of at most 256 events and about one megabyte. A pure value.
struct AppendCalls {
    struct Call {
        /// Indices of the batch's grants.
        var grants: [UInt16] = []
        /// Indices of the batch's events, in order.
        var events: [Int] = []
        var bytes = 0
    }

    private(set) var calls: [Call] = []

    static let eventsMax = 256
    static let bytesMax = 1024 * 1024

    /// - Parameter grants: the indices of the grants to append for.
    init(_ batch: LogBatch, grants: [Int]) {
        var isUsable = Array(repeating: false, count: batch.grants.count)
        for grant in grants { isUsable[grant] = true }
        var call = Call()
        // The call in which a grant was named last, by grant.
        var named = Array(repeating: -1, count: batch.grants.count)
        for (index, grant) in batch.grantIndices.enumerated() where isUsable[Int(grant)] {
            let bytes = batch.events[index].event.accountedBytes
            if !call.events.isEmpty, call.events.count == Self.eventsMax || call.bytes + bytes > Self.bytesMax {
                self.calls.append(call)
                call = Call()
            }
            if named[Int(grant)] != self.calls.count {
                named[Int(grant)] = self.calls.count
                call.grants.append(grant)
            }
            call.events.append(index)
            call.bytes += bytes
        }
        if !call.events.isEmpty { self.calls.append(call) }
    }
}
