import DequeModule

/// The newest events of a channel, already encoded, that a loop keeps for its subscribers. A window into history: `[tail, head]`.
///
/// Not the truth: whatever it drops can be read from the log again.
struct FeedBuffer {
    enum OnAppend: Equatable {
        case appended
        /// Everything in the chunk was here already.
        case known
        /// Events between the head and the chunk are missing (or the epoch changed): the buffer restarts at the chunk.
        case restarted
    }

    private(set) var head: Position
    private(set) var chunks: Deque<Chunk> = []
    private(set) var cost = 0

    init(head: Position) {
        self.head = head
    }

    /// The offset of the oldest event here; the one after the head when there is none.
    var first: UInt64 { self.chunks.first?.first ?? self.head.offset + 1 }

    mutating func append(_ chunk: Chunk) -> OnAppend {
        let newHead = Position(epoch: chunk.epoch, offset: chunk.last)
        guard newHead > self.head else { return .known }
        let continues = chunk.epoch == self.head.epoch && chunk.first == self.head.offset + 1
        if !continues { self.removeAll() }
        self.chunks.append(chunk)
        self.cost += chunk.cost
        self.head = newHead
        return continues ? .appended : .restarted
    }

    /// Drops from the old end: what is over the budget, and what is older than `second`. Answers the cost that was freed.
    mutating func trim(costMax: Int, olderThan second: Int) -> Int {
        let before = self.cost
        // The newest chunk stays while it is young, however large: a pass may be about to deliver it.
        while let chunk = self.chunks.first, chunk.second < second || (self.cost > costMax && self.chunks.count > 1) {
            self.chunks.removeFirst()
            self.cost -= chunk.cost
        }
        return before - self.cost
    }

    /// Drops the oldest chunk. Answers the cost that was freed.
    mutating func removeFirst() -> Int {
        guard let chunk = self.chunks.popFirst() else { return 0 }
        self.cost -= chunk.cost
        return chunk.cost
    }

    /// The chunk that holds this offset, joined with those behind it as far as `costMax` allows: a subscriber that lags by many commits gets them
    /// in one write, and so do all who lag about as far, since the joined chunk stays in place of its parts.
    mutating func chunk(holding offset: UInt64, joinedUpTo costMax: Int) -> Chunk? {
        // Nearly always the newest one.
        guard let last = self.chunks.last else { return nil }
        if last.first <= offset { return offset <= last.last ? last : nil }
        guard let start = self.index(holding: offset) else { return nil }
        var end = start + 1
        var cost = self.chunks[start].cost
        while end < self.chunks.count, cost + self.chunks[end].cost <= costMax {
            cost += self.chunks[end].cost
            end += 1
        }
        if end > start + 1 {
            let joined = Chunk(joining: self.chunks[start..<end])
            self.chunks.replaceSubrange(start..<end, with: CollectionOfOne(joined))
        }
        return self.chunks[start]
    }

    private func index(holding offset: UInt64) -> Int? {
        var low = 0
        var high = self.chunks.count - 1
        while low < high {
            let middle = (low + high) / 2
            if self.chunks[middle].last < offset { low = middle + 1 } else { high = middle }
        }
        let chunk = self.chunks[low]
        return chunk.first <= offset && offset <= chunk.last ? low : nil
    }

    private mutating func removeAll() {
        self.chunks.removeAll()
        self.cost = 0
    }
}
