import DequeModule

/// The newest events of a channel, already encoded, that a loop keeps for its subscribers. A window of the history: `[tail, head]`.
///
/// The buffer is only a cache: events that it drops can be read from the log.
struct FeedBuffer {
    enum OnAppend: Equatable {
        case appended
        /// All events of the chunk are already in the buffer.
        case known
        /// Events between the head and the chunk are missing (or the epoch changed): the buffer restarts at the chunk.
        case restarted
    }

    private(set) var head: Position
    private(set) var chunks: Deque<Chunk> = []
    /// The counted memory of the chunks, in bytes.
    private(set) var memoryBytes = 0

    init(head: Position) {
        self.head = head
    }

    /// The offset of the oldest event in the buffer. If the buffer is empty, the offset after the head.
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

    /// Empties the buffer, and sets the channel's head.
    mutating func restart(at head: Position) {
        self.removeAll()
        self.head = head
    }

    /// Counts the memory by which a chunk has grown.
    mutating func recount(_ chunk: Chunk) {
        if chunk.hasGrown { self.count(chunk) }
    }

    /// Drops the oldest chunks until the limit is met. The newest chunk always stays, because a pass may be about to deliver it.
    mutating func trim(bytesMax: Int) {
        while self.memoryBytes > bytesMax, self.chunks.count > 1 { self.removeFirst() }
    }

    /// Drops the oldest chunk, if it was made in `second` or earlier.
    mutating func removeFirst(notAfter second: Int) {
        if let chunk = self.chunks.first, chunk.second <= second { self.removeFirst() }
    }

    /// The newest chunk, if it contains this offset: nearly every subscriber needs this chunk.
    func newest(holding offset: UInt64) -> Chunk? {
        guard let last = self.chunks.last, last.first <= offset, offset <= last.last else { return nil }
        return last
    }

    /// The chunk that holds this offset, joined with the following ones up to `frameBytesMax`. A subscriber that lags by many commits gets them in one write.
    /// The joined chunk replaces its parts, so other subscribers with a similar lag use it too.
    mutating func chunk(holding offset: UInt64, joinedUpTo frameBytesMax: Int) -> Chunk? {
        guard let start = self.index(holding: offset) else { return nil }
        var end = start + 1
        var bytes = self.chunks[start].frameBytes
        while end < self.chunks.count, bytes + self.chunks[end].frameBytes <= frameBytesMax {
            bytes += self.chunks[end].frameBytes
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
        self.memoryBytes += chunk.memoryBytes - chunk.countedBytes
        chunk.countedBytes = chunk.memoryBytes
    }

    private mutating func uncount(_ chunk: Chunk) {
        self.memoryBytes -= chunk.countedBytes
        chunk.countedBytes = 0
    }
}
