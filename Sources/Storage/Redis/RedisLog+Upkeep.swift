import NIOConcurrencyHelpers
import NIOCore
package import Partitioning
package import Pipeline

extension RedisLog {
    /// Goes through the sealed partitions, and through the heads of each with `HSCAN`. Redis may return a head twice.
    package func remembered(from place: RememberedPlace, count: Int) async throws(LogError) -> RememberedSlice {
        let grants = self.seals.withLockedValue { $0.grants }
        guard let partition = grants.first(where: { $0.partition >= place.partition })?.partition else { return RememberedSlice(channels: [], next: nil) }
        let cursor = partition == place.partition ? place.cursor : 0
        let server = self.server(of: partition)
        let client = self.client(server)
        // The clock first, so that no head is newer.
        let clock = try await self.reply(to: RedisRequest("TIME"), from: client, of: server, storage: nil)
        guard case .array(let time) = clock, let seconds = time.first?.text.flatMap({ Int64($0) }) else { throw .unexpected(clock, client.address) }
        let ages = StoredAges(wall: self.settings.clock?() ?? seconds * 1000, steady: self.clocks.steady())
        let reply = try await self.reply(
            to: RedisRequest("HSCAN", self.heads(partition), "\(cursor)", "COUNT", "\(count)"), from: client, of: server, storage: nil)
        guard case .array(let values) = reply, values.count == 2, let next = values[0].text.flatMap({ UInt64($0) }), case .array(let fields) = values[1] else {
            throw .unexpected(reply, client.address)
        }
        var channels: [(channel: ChannelName, head: Position, timestamp: Int64)] = []
        for index in stride(from: 0, to: fields.count - 1, by: 2) {
            guard
                let name = fields[index].text.flatMap({ ChannelName($0) }), let parts = fields[index + 1].text?.split(separator: "-"), parts.count >= 3,
                let head = Position("\(parts[0])-\(parts[1])"), let timestamp = Int64(parts[2])
            else { continue }
            channels.append((name, head, ages.steady(of: timestamp)))
        }
        if next != 0 { return RememberedSlice(channels: channels, next: RememberedPlace(partition: partition, cursor: next)) }
        let hasMore = grants.contains { $0.partition > partition }
        return RememberedSlice(channels: channels, next: hasMore ? RememberedPlace(partition: partition + 1, cursor: 0) : nil)
    }

    package func forget(_ channels: [Grant: [ChannelName]], writtenBefore oldest: Int64) async throws(LogError) {
        // Lua's numbers are exact below 2⁵³.
        let age = max(-(1 << 52), oldest == .max ? .min : self.clocks.steady() - oldest)
        for (grant, names) in channels {
            guard let seal = self.seals.withLockedValue({ try? $0.seal(grant) }) else { continue }
            let server = self.server(of: grant.partition)
            let client = self.client(server)
            for names in names.slices(of: Self.partitionsMax) {
                var request = RedisRequest(.forget, on: try await self.session(of: client), keyCount: 2, argumentCount: 3 + names.count)
                request.append(self.fence(grant.partition))
                request.append(self.heads(grant.partition))
                request.append(grant.ownerEpoch)
                request.append(age)
                request.append(self.time)
                for name in names { request.append(name.string) }
                let reply = try await self.reply(to: request, from: client, of: server, storage: seal.storage)
                guard let numbers = reply.integers, numbers.count == 2 else { throw .unexpected(reply, client.address) }
                guard numbers[0] == RedisScripts.Status.done else { break }
                self.seals.withLockedValue { seals in
                    guard seals[grant.partition]?.ownerEpoch == grant.ownerEpoch else { return }
                    seals[grant.partition]!.floor = max(seals[grant.partition]!.floor, UInt64(clamping: numbers[1]))
                }
            }
        }
    }

    /// Does nothing. Redis deletes streams when they expire, appends limit their length, and reads delete expired events of busy streams.
    package func trim(_ grants: [Grant], now: Int64) async throws(LogError) {}
}
