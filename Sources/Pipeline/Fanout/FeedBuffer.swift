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
    /// The memory that the chunks hold, as far as it has been counted.
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
        self.count(chunk)
        self.head = newHead
        return continues ? .appended : .restarted
    }

    /// Counts what one of its chunks has grown by.
    mutating func recount(_ chunk: Chunk) {
        if chunk.hasGrown { self.count(chunk) }
    }

    /// Drops from the old end until the budget is kept. The newest chunk stays, however large: a pass may be about to deliver it.
    mutating func trim(costMax: Int) {
        while self.cost > costMax, self.chunks.count > 1 { self.removeFirst() }
    }

    /// Drops the oldest chunk, if it is not younger than `second`.
    mutating func removeFirst(notAfter second: Int) {
        if let chunk = self.chunks.first, chunk.second <= second { self.removeFirst() }
    }

    /// The newest chunk, if it holds this offset: what nearly every subscriber wants.
    func newest(holding offset: UInt64) -> Chunk? {
        guard let last = self.chunks.last, last.first <= offset, offset <= last.last else { return nil }
        return last
    }

    /// The chunk that holds this offset, joined with those behind it as far as `writeCostMax` allows: a subscriber that lags by many commits gets them
    /// in one write, and so do all who lag about as far, since the joined chunk stays in place of its parts.
    mutating func chunk(holding offset: UInt64, joinedUpTo writeCostMax: Int) -> Chunk? {
        guard let start = self.index(holding: offset) else { return nil }
        var end = start + 1
        var cost = self.chunks[start].writeCost
        while end < self.chunks.count, cost + self.chunks[end].writeCost <= writeCostMax {
            cost += self.chunks[end].writeCost
            end += 1
        }
        if end > start + 1 {
            let joined = Chunk(joining: self.chunks[start..<end])
            for index in start..<end { self.uncount(self.chunks[index]) }
            self.chunks.replaceSubrange(start..<end, with: CollectionOfOne(joined))
            self.count(joined)
        }
        return self.chunks[start]
    }

    private func index(holding offset: UInt64) -> Int? {
        guard !self.chunks.isEmpty else { return nil }
        var low = 0
        var high = self.chunks.count - 1
        while low < high {
            let middle = (low + high) / 2
            if self.chunks[middle].last < offset { low = middle + 1 } else { high = middle }
        }
        let chunk = self.chunks[low]
        return chunk.first <= offset && offset <= chunk.last ? low : nil
    }

    private mutating func removeFirst() {
        self.uncount(self.chunks.removeFirst())
    }

    private mutating func removeAll() {
        for chunk in self.chunks { self.uncount(chunk) }
        self.chunks.removeAll()
    }

    private mutating func count(_ chunk: Chunk) {
        self.cost += chunk.cost - chunk.countedCost
        chunk.countedCost = chunk.cost
    }

    private mutating func uncount(_ chunk: Chunk) {
        self.cost -= chunk.countedCost
        chunk.countedCost = 0
    }
}
