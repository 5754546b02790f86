/// The Lua scripts of ``RedisLog``. Redis runs a script as one step: no other command comes between its checks and its writes.
///
/// Scripts are not rolled back, so each of them checks everything before its first write. They begin with `#!lua`, because Redis then refuses a script whole when
/// its memory is full, in place of the first command inside it that writes. Only the append is refused then: the other scripts have flags, because a full memory
/// must stop neither readers nor a new owner, and forgetting makes room.
///
/// Keys of a partition, behind the prefix `rt:CLUSTER:{PARTITION}:`. The braces put all keys of a partition into one slot of a Redis Cluster.
///
/// | key | type | content |
/// |---|---|---|
/// | `f` | hash | the fence: `oe` owner epoch, `floor` epoch for new channels, `trusted` oldest trusted epoch, `storage` identity of the server at the seal, `seals` number of seals |
/// | `h` | hash | the heads: channel → `epoch-offset-milliseconds-period-former`: its last event, and the last offsets before the present period of 10 seconds and before the one before it |
/// | `s:CHANNEL` | stream | the events: id `epoch-offset`, `m` milliseconds and metadata (``RedisEvent``), `d` payload |
///
/// A stream keeps the events of the history, and all events of the last 10 seconds (up to 65,536 more): a node that publishes again after a loss of its owner
/// sends the same message ids within that time, and the next owner finds them in the stream, however short the history is. Only the history can be read.
///
/// Ages are measured by the clock of the server, because the clocks of nodes differ: a node whose clock is ahead would find that all events have expired, and
/// delete them. A script's argument for the time is empty, except in tests.
///
/// Streams expire; fences and heads do not, so a head that is missing means that the channel was forgotten, or that Redis has lost data.
enum RedisScripts {
    /// A script's status for a partition.
    enum Status {
        static let done: Int64 = 0
        /// Sealed under a newer owner epoch, which follows.
        static let fenced: Int64 = 1
        /// Not sealed, or under an older owner epoch: Redis has lost the seal.
        static let unsealed: Int64 = 2
        /// An event does not follow the stored head: Redis has lost events.
        static let gap: Int64 = 3
        /// An event's epoch is older than the stored head's.
        static let overtaken: Int64 = 4
        /// Redis refused to add an event, with the error that follows. Earlier events of the partition are in their streams, but no head is changed: the same events
        /// must be appended again.
        static let failed: Int64 = 5
        /// A key of the partition has another type, so another program writes keys of the log. Nothing was executed for the partition. The other partitions of the
        /// call are not affected.
        static let foreign: Int64 = 6
    }

    enum Script: Int, CaseIterable {
        case seal, append, read, heads, verify, forget
    }

    /// The sources, in the order of ``Script``.
    static let all = Script.allCases.map { script in
        switch script {
        case .seal: withDefects(seal)
        case .append: withDefects(append)
        case .read: withDefects(read)
        case .heads: withDefects(heads)
        case .verify: withDefects(verify)
        case .forget: withDefects(forget)
        }
    }

    /// Keys: the fences. Arguments: the storage's identity; for each partition its owner epoch, the lowest floor, and the number of the last seal that the owner knows.
    /// Returns for each partition: status, stored owner epoch, 1 if nothing can have been lost since the last seal, floor, trusted epoch,
    /// number of this seal. The numbers grow also if Redis has lost the fence: an append that was sent before the loss must not fit to a seal after it.
    ///
    /// If the storage is another one than at the last seal, or the fence is missing, heads of former epochs are not trusted any more: new events begin epochs from
    /// the raised floor on. Otherwise the floor stays, so that a subscriber of a channel without an event gets no gap when only the owner changes.
    static let seal = """
        #!lua flags=allow-oom
        local reply = {}
        for i, key in ipairs(KEYS) do
            local oe, least, last = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
            local fence = redis.pcall('HMGET', key, 'oe', 'floor', 'trusted', 'storage', 'seals')
            local stored, floor, trusted = tonumber(fence[1] or 0), tonumber(fence[2] or 0), tonumber(fence[3] or 0)
            local status, kept, seals = 0, 0, 0
            if fence.err then
                status = 6
            elseif stored > oe then
                status = 1
            else
                if fence[4] == ARGV[1] then
                    kept = 1
                    if floor == 0 then floor = least end
                else
                    floor = math.max(floor, least) + 1
                    trusted = floor
                end
                seals = math.max(tonumber(fence[5] or 0), last) + 1
                redis.call('HSET', key, 'oe', ARGV[3 * i - 1], 'floor', floor, 'trusted', trusted, 'storage', ARGV[1], 'seals', seals)
            end
            for _, value in ipairs({status, stored, kept, floor, trusted, seals}) do reply[#reply + 1] = value end
        end
        return reply
        """

    /// Keys: for each partition its fence and its heads. Arguments: events that a stream keeps; milliseconds until it expires; the time; for each partition its owner epoch
    /// and the number of its seal; for each event the partition's number in the keys, channel, epoch, offset, metadata, payload.
    /// Returns for each partition: status, and the newer owner epoch or the head that does not fit.
    ///
    /// A partition's events are stored together or not at all, unless a key has a type that it should not have. An event that an earlier call has added before it
    /// failed is found in its stream. Events at or before the head are skipped: only the owner writes under its seal, so they are a repeat
    /// of its own append. A call that was sent before the owner sealed again, and is executed after it, has the number of an older seal and is refused.
    ///
    /// A stream's expiry is set once in 30 seconds, because it costs a quarter of an append. So the expiry must be at least 30 seconds longer than the history.
    /// Then up to 84 events that are older are deleted too: a slow channel's stream never expires as a whole, and perhaps it is never read.
    static let append = """
        #!lua
        local partitions = #KEYS / 2
        local status, detail, names, heads, fresh = {}, {}, {}, {}, {}
        local first = 2 * partitions + 4
        local clock = ARGV[3] ~= '' and {tonumber(ARGV[3]) / 1000, 0} or redis.call('TIME')
        local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
        for p = 1, partitions do
            local fence = redis.pcall('HMGET', KEYS[2 * p - 1], 'oe', 'seals')
            local sealed, oe = tonumber(fence[1] or 0), tonumber(ARGV[2 * p + 2])
            status[p], detail[p] = 0, ''
            if fence.err then
                status[p], detail[p] = 6, fence.err
            elseif sealed > oe then
                status[p], detail[p] = 1, tostring(sealed)
            elseif sealed < oe or fence[2] ~= ARGV[2 * p + 3] then
                status[p] = 2
            end
            names[p], heads[p], fresh[p] = {}, {}, {}
        end
        for i = first, #ARGV, 6 do
            local p, channel = tonumber(ARGV[i]), ARGV[i + 1]
            if heads[p][channel] == nil then
                heads[p][channel] = false
                names[p][#names[p] + 1] = channel
            end
        end
        for p = 1, partitions do
            if status[p] == 0 then
                local stored = redis.pcall('HMGET', KEYS[2 * p], unpack(names[p]))
                if stored.err then status[p], detail[p] = 6, stored.err end
                for n, channel in ipairs(names[p]) do
                    if stored[n] then
                        local epoch, offset, time, period, former = string.match(stored[n], '^(%d+)-(%d+)-(%d+)-?(%d*)-?(%d*)')
                        heads[p][channel] = {tonumber(epoch), tonumber(offset), nil, tonumber(time), tonumber(period) or 0, tonumber(former) or 0, tonumber(offset)}
                    else
                        heads[p][channel] = {0, 0}
                    end
                end
            end
        end
        local new = {}
        for i = first, #ARGV, 6 do
            local p, channel = tonumber(ARGV[i]), ARGV[i + 1]
            if status[p] == 0 then
                local head, epoch, offset = heads[p][channel], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
                if epoch < head[1] then
                    status[p], detail[p] = 4, channel
                elseif epoch > head[1] and offset ~= 1 or epoch == head[1] and offset > head[2] + 1 then
                    status[p], detail[p] = 3, channel
                elseif epoch > head[1] or offset > head[2] then
                    if epoch > head[1] then
                        fresh[p][channel] = i
                        head[5], head[6], head[7] = 0, 0, 0
                    end
                    head[1], head[2], head[3] = epoch, offset, i
                    new[i] = true
                end
            end
        end
        for i = first, #ARGV, 6 do
            local p, channel = tonumber(ARGV[i]), ARGV[i + 1]
            if new[i] and status[p] == 0 then
                local stream = string.sub(KEYS[2 * p], 1, -2) .. 's:' .. channel
                if fresh[p][channel] == i and redis.call('TYPE', stream).ok == 'stream' then redis.call('UNLINK', stream) end
                local id = ARGV[i + 2] .. '-' .. ARGV[i + 3]
                local head, added = heads[p][channel], nil
                if head[3] == i then
                    local period, last = math.floor(now / 10000), math.floor((head[4] or now) / 10000)
                    if period > last then
                        head[6] = period == last + 1 and head[5] or head[7]
                        head[5] = head[7]
                    end
                    local oldest = math.max(math.min(head[2] - ARGV[1], head[6]), head[2] - ARGV[1] - 65536) + 1
                    added = redis.pcall(
                        'XADD', stream, 'MINID', ARGV[i + 2] .. '-' .. math.max(oldest, 0), id, 'm', now .. ' ' .. ARGV[i + 4], 'd', ARGV[i + 5])
                else
                    added = redis.pcall('XADD', stream, id, 'm', now .. ' ' .. ARGV[i + 4], 'd', ARGV[i + 5])
                end
                if type(added) == 'table' and added.err then
                    local entry = redis.pcall('XRANGE', stream, id, id)
                    if entry.err or #entry == 0 then
                        status[p], detail[p] = 5, added.err
                    elseif string.match(entry[1][2][2], '^%d+ (.*)$') ~= ARGV[i + 4] or entry[1][2][4] ~= ARGV[i + 5] then
                        status[p], detail[p] = 3, channel
                    end
                end
                if status[p] == 0 and heads[p][channel][3] == i then
                    local former = heads[p][channel][4]
                    if fresh[p][channel] or not former or math.floor(now / 30000) ~= math.floor(former / 30000) then
                        redis.call('PEXPIRE', stream, ARGV[2])
                        local start, count, keep = '-', 1, nil
                        while not fresh[p][channel] and count <= 64 do
                            local page = redis.call('XRANGE', stream, start, '+', 'COUNT', count)
                            local isExpired = #page > 0
                            for _, entry in ipairs(page) do
                                isExpired = tonumber(string.match(entry[2][2], '^%d+')) < now - ARGV[2]
                                keep = entry[1]
                                if not isExpired then break end
                            end
                            if not isExpired then break end
                            start, count = '(' .. keep, 4 * count
                        end
                        if count > 1 then redis.call('XTRIM', stream, 'MINID', keep) end
                    end
                end
            end
        end
        local reply = {}
        for p = 1, partitions do
            if status[p] == 0 then
                local changed = {}
                for _, channel in ipairs(names[p]) do
                    local i = heads[p][channel][3]
                    if i then
                        changed[#changed + 1] = channel
                        changed[#changed + 1] = table.concat({ARGV[i + 2], ARGV[i + 3], now, heads[p][channel][5], heads[p][channel][6]}, '-')
                    end
                end
                if #changed > 0 then redis.call('HSET', KEYS[2 * p], unpack(changed)) end
            end
            reply[2 * p - 1], reply[2 * p] = status[p], detail[p]
        end
        return reply
        """

    /// Keys: fence, stream. Arguments: owner epoch, position to read after, number of events, bytes of payloads, milliseconds until an event expires, the time,
    /// events of the history.
    /// Returns status, the newer owner epoch or the oldest position, then for each event its id, metadata and payload.
    ///
    /// Deletes expired events at the beginning of the stream: a busy channel's stream does not expire as a whole.
    static let read = """
        #!lua flags=allow-oom
        local fence, oe = tonumber(redis.call('HGET', KEYS[1], 'oe') or 0), tonumber(ARGV[1])
        if fence > oe then return {1, tostring(fence)} end
        if fence < oe then return {2, ''} end
        local clock = ARGV[6] ~= '' and {tonumber(ARGV[6]) / 1000, 0} or redis.call('TIME')
        local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
        local limit, bytesMax, horizon = tonumber(ARGV[3]), tonumber(ARGV[4]), now - tonumber(ARGV[5])
        local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)
        if #newest == 0 then return {0, ''} end
        if tonumber(string.match(newest[1][2][2], '^%d+')) < horizon then
            redis.call('UNLINK', KEYS[2])
            return {0, ''}
        end
        local epoch, offset = string.match(newest[1][1], '^(%d+)-(%d+)$')
        local lowest = math.max(offset - ARGV[7] + 1, 0)
        local first = epoch .. '-' .. lowest
        local oldest, start, count = false, first, 1
        while not oldest do
            local page = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', count)
            for n, entry in ipairs(page) do
                if tonumber(string.match(entry[2][2], '^%d+')) >= horizon then
                    oldest = entry[1]
                    if n > 1 or start ~= first then redis.call('XTRIM', KEYS[2], 'MINID', oldest) end
                    break
                end
            end
            if #page < count then break end
            start, count = '(' .. page[#page][1], 32
        end
        if not oldest then return {0, ''} end
        local reply, bytes, size = {0, oldest}, 0, 4
        local afterEpoch, afterOffset = string.match(ARGV[2], '^(%d+)-(%d+)$')
        afterEpoch, afterOffset = tonumber(afterEpoch), tonumber(afterOffset)
        if afterEpoch < tonumber(epoch) or afterEpoch == tonumber(epoch) and afterOffset < lowest then
            start = first
        else
            start = '(' .. ARGV[2]
        end
        while limit > 0 do
            count = math.min(limit, size)
            size = math.min(2 * size, 64)
            local page = redis.call('XRANGE', KEYS[2], start, '+', 'COUNT', count)
            for _, entry in ipairs(page) do
                bytes = bytes + #entry[2][4]
                if bytes > bytesMax and #reply > 2 then return reply end
                reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = entry[1], entry[2][2], entry[2][4]
            end
            limit = limit - #page
            if #page < count then break end
            start = '(' .. page[#page][1]
        end
        return reply
        """

    /// Keys: for each partition its fence and its heads. Arguments: milliseconds until a message id expires; the time; for each partition its owner epoch; for each
    /// channel the partition's number in the keys, the channel, and the id to read message ids down from (`+`, or `(` and an id).
    /// Returns the time; for each partition its status; for each channel its head or '', the number of events that follow, those events' ids and metadata, newest first,
    /// and the id to continue from or ''. The number -1 means that the call had read enough before it came to the channel.
    ///
    /// An append that failed in the middle has left events after the head, and their owner never learned whether they were stored. The head is moved to the last of them: they
    /// count as stored, so no later event gets one of their positions.
    static let heads = """
        #!lua flags=allow-oom
        local partitions = #KEYS / 2
        local clock = ARGV[2] ~= '' and {tonumber(ARGV[2]) / 1000, 0} or redis.call('TIME')
        local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
        local reply, status = {now}, {}
        for p = 1, partitions do
            local fence, oe = redis.pcall('HMGET', KEYS[2 * p - 1], 'oe'), tonumber(ARGV[p + 2])
            local stored = tonumber(fence[1] or 0)
            status[p] = (fence.err or type(redis.pcall('HLEN', KEYS[2 * p])) == 'table') and 6 or stored > oe and 1 or stored < oe and 2 or 0
            reply[p + 1] = status[p]
        end
        local horizon, bytes, entries = now - tonumber(ARGV[1]), 1048576, 4096
        for i = partitions + 3, #ARGV, 3 do
            local p, channel = tonumber(ARGV[i]), ARGV[i + 1]
            local head = status[p] ~= 6 and redis.call('HGET', KEYS[2 * p], channel) or ''
            reply[#reply + 1] = head
            local headPlace, place, start, count, next = #reply, #reply + 1, ARGV[i + 2], 16, ''
            reply[place] = 0
            if bytes <= 0 or entries <= 0 then
                reply[place] = -1
            elseif status[p] == 0 and head ~= '' then
                local stream = string.sub(KEYS[2 * p], 1, -2) .. 's:' .. channel
                local found = 0
                repeat
                    local page = redis.pcall('XREVRANGE', stream, start, '-', 'COUNT', count)
                    local isDone = #page < count
                    if start == '+' and #page > 0 then
                        local epoch, offset = string.match(page[1][1], '^(%d+)-(%d+)$')
                        local headEpoch, headOffset = string.match(head, '^(%d+)-(%d+)')
                        if epoch == headEpoch and tonumber(offset) > tonumber(headOffset) then
                            head = page[1][1] .. '-' .. string.match(page[1][2][2], '^%d+') .. string.match(head, '^%d+-%d+-%d+(.*)$')
                            reply[headPlace] = head
                            redis.call('HSET', KEYS[2 * p], channel, head)
                        end
                    end
                    for _, entry in ipairs(page) do
                        if tonumber(string.match(entry[2][2], '^%d+')) < horizon then
                            isDone = true
                            break
                        end
                        found = found + 1
                        bytes = bytes - #entry[2][4]
                        entries = entries - 1
                        reply[#reply + 1], reply[#reply + 2] = entry[1], entry[2][2]
                        start = '(' .. entry[1]
                    end
                    if not isDone and (bytes <= 0 or entries <= 0) then
                        next = start
                        isDone = true
                    end
                    count = 64
                until isDone
                reply[place] = found
            end
            reply[#reply + 1] = next
        end
        return reply
        """

    /// Keys: for each partition its fence and its heads. Arguments: for each partition its owner epoch. Returns for each partition its status, the newer owner
    /// epoch, and the number of its heads.
    static let verify = """
        #!lua flags=no-writes
        local reply = {}
        for p = 1, #KEYS / 2 do
            local fence, count, oe = redis.pcall('HMGET', KEYS[2 * p - 1], 'oe'), redis.pcall('HLEN', KEYS[2 * p]), tonumber(ARGV[p])
            local stored, isForeign = tonumber(fence[1] or 0), fence.err or type(count) == 'table'
            reply[3 * p - 2] = isForeign and 6 or stored > oe and 1 or stored < oe and 2 or 0
            reply[3 * p - 1] = stored
            reply[3 * p] = isForeign and 0 or count
        end
        return reply
        """

    /// Keys: fence, heads. Arguments: owner epoch, the least age of a head that is forgotten, the time, channels. Returns status, and the new floor.
    static let forget = """
        #!lua flags=allow-oom
        local fence, oe = redis.call('HMGET', KEYS[1], 'oe', 'floor'), tonumber(ARGV[1])
        local clock = ARGV[3] ~= '' and {tonumber(ARGV[3]) / 1000, 0} or redis.call('TIME')
        local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
        local stored, floor, oldest = tonumber(fence[1] or 0), tonumber(fence[2] or 0), now - tonumber(ARGV[2])
        if stored > oe then return {1, stored} end
        if stored < oe then return {2, 0} end
        local heads = redis.call('HMGET', KEYS[2], unpack(ARGV, 4))
        local old, streams = {}, {}
        for n, head in ipairs(heads) do
            if head then
                local epoch, time = string.match(head, '^(%d+)-%d+-(%d+)')
                if tonumber(time) < oldest then
                    old[#old + 1] = ARGV[n + 3]
                    streams[#streams + 1] = string.sub(KEYS[2], 1, -2) .. 's:' .. ARGV[n + 3]
                    floor = math.max(floor, tonumber(epoch) + 1)
                end
            end
        end
        if #old > 0 then
            redis.call('HSET', KEYS[1], 'floor', floor)
            redis.call('HDEL', KEYS[2], unpack(old))
            redis.call('UNLINK', unpack(streams))
        end
        return {0, floor}
        """
}

extension RedisRequest {
    /// Begins a call of a script. The caller appends the keys, then the arguments.
    init(_ script: RedisScripts.Script, on session: RedisClient.Session, keyCount: Int, argumentCount: Int, capacity: Int = 256) {
        self.init("EVALSHA", argumentCount: 2 + keyCount + argumentCount, capacity: capacity)
        self.append(session.scriptHashes[script.rawValue])
        self.append(keyCount)
    }
}

extension Result where Success == RedisReply, Failure == RedisRequestError {
    /// Redis has forgotten its scripts, which it does on `SCRIPT FLUSH`. It executed nothing.
    var isMissingScript: Bool {
        if case .success(let reply) = self { reply.errorCode == "NOSCRIPT" } else { false }
    }
}

extension RedisReply {
    /// Nil if it is not an array of integers.
    var integers: [Int64]? {
        guard case .array(let values) = self else { return nil }
        var integers: [Int64] = []
        integers.reserveCapacity(values.count)
        for value in values {
            guard case .integer(let integer) = value else { return nil }
            integers.append(integer)
        }
        return integers
    }
}
