import NIOConcurrencyHelpers
import NIOCore
import Partitioning
package import Pipeline

extension RedisLog {
    package func read(_ channel: ChannelName, after position: Position, limit: Int, bytesMax: Int) async throws(LogError) -> LogSlice {
        let partition = self.partitions.partition(ofHash: channel.hash64)
        guard let seal = self.seals.withLockedValue({ $0[partition] }) else { throw .notSealed }
        let grant = Grant(partition: partition, ownerEpoch: seal.ownerEpoch)
        let server = self.server(of: partition)
        let client = self.client(server)
        var request = RedisRequest(.read, on: try await self.session(of: client), keyCount: 2, argumentCount: 7)
        request.append(self.fence(partition))
        request.append(self.stream(partition, channel))
        request.append(seal.ownerEpoch)
        // A subscriber can send any position. Redis reads after any id but the highest one, and no head is that high.
        request.append("\(min(position, Position(epoch: .max, offset: .max - 1)))")
        request.append(max(0, limit))
        request.append(max(0, bytesMax))
        request.append(self.historyMilliseconds)
        request.append(self.time)
        request.append(self.limits.historyEventsMax)
        let reply = try await self.reply(to: request, from: client, of: server, storage: seal.storage)
        guard case .array(let values) = reply, values.count >= 2, case .integer(let status) = values[0] else { throw .unexpected(reply, client.address) }
        switch status {
        case RedisScripts.Status.done: break
        case RedisScripts.Status.fenced: throw .fenced(grant, by: values[1].text.flatMap { OwnerEpoch($0) } ?? grant.ownerEpoch + 1)
        default: throw .lostSeal(grant, client.address)
        }
        var slice = LogSlice(events: [], oldest: values[1].text.flatMap { Position($0) })
        slice.events.reserveCapacity(values.count / 3)
        for index in stride(from: 2, to: values.count - 2, by: 3) {
            guard
                case .string(let id) = values[index], case .string(let metadata) = values[index + 1], case .string(let payload) = values[index + 2],
                let event = RedisEvent.event(channel, id: id, metadata: metadata, payload: payload)
            else { throw .unexpected(values[index + 1], client.address) }
            slice.events.append(event)
        }
        return slice
    }

    /// Events that are older have expired.
    private var historyMilliseconds: Int { self.limits.historySecondsMax * 1000 }

    /// The time for a script: empty, so that it uses the server's clock. Tests give one.
    var time: String { self.settings.clock.map { "\($0())" } ?? "" }

    // MARK: - Heads

    package func heads(of channels: [ChannelOfPartition]) async throws(LogError) -> LogHeads {
        var heads: [ChannelHead?] = Array(repeating: nil, count: channels.count)
        for (server, indices) in self.sorted(channels, by: \.grant.partition) {
            for slice in indices.slices(of: Self.partitionsMax) { try await self.read(heads: channels, slice, on: server, into: &heads) }
        }
        return LogHeads(heads: heads, channelCount: self.seals.withLockedValue { $0.channelCount })
    }

    /// Reads the heads of these channels, in as many calls as their message ids need.
    private func read(heads channels: [ChannelOfPartition], _ indices: [Int], on server: Int, into heads: inout [ChannelHead?]) async throws(LogError) {
        let client = self.client(server)
        var seals: [Grant: RedisSeals.Seal] = [:]
        self.seals.withLockedValue { known in
            for index in indices { seals[channels[index].grant] = try? known.seal(channels[index].grant) }
        }
        // Channels to read, and where to continue.
        var rest: [(index: Int, start: String)] = indices.filter { seals[channels[$0].grant] != nil }.map { ($0, "+") }
        while !rest.isEmpty {
            let grants = Array(Set(rest.map { channels[$0.index].grant }))
            let numbers = Dictionary(uniqueKeysWithValues: grants.enumerated().map { ($1, $0 + 1) })
            let storages = Set(grants.map { seals[$0]!.storage })
            guard storages.count == 1, let storage = storages.first else { throw .otherStorage(grants[0], client.address) }
            var request = RedisRequest(
                .heads, on: try await self.session(of: client), keyCount: 2 * grants.count, argumentCount: 2 + grants.count + 3 * rest.count)
            for grant in grants {
                request.append(self.fence(grant.partition))
                request.append(self.heads(grant.partition))
            }
            request.append(self.historyMilliseconds)
            request.append(self.time)
            for grant in grants { request.append(grant.ownerEpoch) }
            for (index, start) in rest {
                request.append(numbers[channels[index].grant]!)
                request.append(channels[index].channel.string)
                request.append(start)
            }
            let reply = try await self.reply(to: request, from: client, of: server, storage: storage)
            guard case .array(let values) = reply, values.count > grants.count, case .integer(let now) = values[0] else {
                throw .unexpected(reply, client.address)
            }
            let ages = StoredAges(wall: now, steady: self.clocks.steady())
            for (grant, status) in zip(grants, values.dropFirst()) where status == .integer(RedisScripts.Status.unsealed) {
                throw .lostSeal(grant, client.address)
            }
            // A partition with a foreign key has no heads either: its owner seals it again until the key is gone.
            let fenced = Set(
                zip(grants, values.dropFirst()).filter {
                    $1 == .integer(RedisScripts.Status.fenced) || $1 == .integer(RedisScripts.Status.foreign)
                }.map(\.0))
            var reader = HeadsReader(values: values, place: grants.count + 1)
            var next: [(index: Int, start: String)] = []
            for (index, start) in rest {
                guard let found = reader.next() else { throw .unexpected(reply, client.address) }
                let requested = channels[index]
                if fenced.contains(requested.grant) { continue }
                guard let ids = found.ids else {
                    next.append((index, start))
                    continue
                }
                if heads[index] == nil {
                    let (head, lostAfter) = self.seals.withLockedValue { known in
                        let head = known.head(stored: found.head, known: requested.known, under: seals[requested.grant]!)
                        // An epoch that was begun here is never begun again, also if Redis loses all data.
                        if let seal = known[requested.grant.partition], seal.floor < head.head.epoch {
                            known[requested.grant.partition]!.floor = head.head.epoch
                        }
                        return head
                    }
                    heads[index] = ChannelHead(head: head, lostAfter: lostAfter)
                }
                for (position, metadata) in ids {
                    guard let messageID = metadata.messageID else { continue }
                    heads[index]!.messageIDs.append((messageID, position, ages.steady(of: metadata.storedAt)))
                }
                if let start = found.next { next.append((index, start)) } else { heads[index]!.messageIDs.reverse() }
            }
            rest = next
        }
    }
}

/// Reads the flat reply of ``RedisScripts/heads``.
private struct HeadsReader {
    let values: [RedisReply]
    var place: Int

    struct Found {
        var head: Position?
        /// Newest first. Nil if the call had read enough before.
        var ids: [(position: Position, metadata: RedisEvent.Metadata)]?
        var next: String?
    }

    /// Nil if the reply is not as the script writes it.
    mutating func next() -> Found? {
        guard self.place + 1 < self.values.count, let head = self.values[self.place].text, case .integer(let count) = self.values[self.place + 1] else {
            return nil
        }
        self.place += 2
        let parts = head.split(separator: "-")
        var found = Found(head: parts.count >= 3 ? Position("\(parts[0])-\(parts[1])") : nil)
        if count >= 0 {
            guard self.place + 2 * Int(count) < self.values.count else { return nil }
            var ids: [(position: Position, metadata: RedisEvent.Metadata)] = []
            ids.reserveCapacity(Int(count))
            for _ in 0..<count {
                guard
                    let position = self.values[self.place].text.flatMap({ Position($0) }), case .string(let buffer) = self.values[self.place + 1],
                    let metadata = RedisEvent.metadata(buffer)
                else { return nil }
                ids.append((position, metadata))
                self.place += 2
            }
            found.ids = ids
        }
        guard self.place < self.values.count, let next = self.values[self.place].text else { return nil }
        self.place += 1
        found.next = next.isEmpty ? nil : next
        return found
    }
}
