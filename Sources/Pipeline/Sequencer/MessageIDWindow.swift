import DequeModule
import HeapModule
import Partitioning

/// The recent message ids of all channels, bounded by count and age. With them the sequencer detects repeated publishes.
///
/// Stores a 128-bit hash instead of channel and id. If two different ids had the same hash, an event would be lost. With a million ids in the window, the
/// probability is below 10⁻²⁶.
struct MessageIDWindow {
    struct Key: Hashable, Sendable {
        private var low: UInt64
        private var high: UInt64

        /// `channelHash` is ``ChannelName/hash64``.

        init(channelHash: UInt64, messageID: String) {
            self.low = XXH64.hash(messageID, seed: channelHash)
            self.high = XXH64.hash(messageID, seed: ~channelHash)
        }
    }

    /// Events after a position, of the epochs before another one.
    private struct Loss {
        var after: Position
        var before: Position
        var timestamp: Int64
    }

    private struct Found: Comparable {
        var key: Key
        var timestamp: Int64

        static func < (left: Self, right: Self) -> Bool { left.timestamp < right.timestamp }
        static func == (left: Self, right: Self) -> Bool { left.timestamp == right.timestamp }
    }

    private var positions: [Key: Position] = [:]
    /// The ids of this node's commits, oldest first.
    private var order: Deque<(key: Key, timestamp: Int64)> = []
    /// The ids that were read from the log. Channels are read one after another, each from its oldest id on.
    private var found: Heap<Found> = []
    /// Events that the storage has lost, by channel: their ids are no duplicates any more. Nearly always empty.
    private var losses: [UInt64: [Loss]] = [:]
    /// When the expired losses were removed last, or when the first loss was added.
    private var lossesCheckedAt: Int64?
    private let countMax: Int
    private let millisecondsMax: Int64

    init(countMax: Int, secondsMax: Int) {
        self.countMax = countMax
        self.millisecondsMax = Int64(secondsMax) * 1000
    }

    var count: Int { self.positions.count }

    /// The position of the event with this message id, if it is in the window.
    func position(_ key: Key, in channelHash: UInt64) -> Position? {
        guard let position = self.positions[key] else { return nil }
        if !self.losses.isEmpty, let losses = self.losses[channelHash], losses.contains(where: { $0.after < position && position < $0.before }) { return nil }
        return position
    }

    /// The storage has lost a channel's events between these positions. A publish that repeats one of them is stored again.
    mutating func lose(in channelHash: UInt64, after: Position, before: Position, timestamp: Int64) {
        if self.lossesCheckedAt == nil { self.lossesCheckedAt = timestamp }
        self.losses[channelHash, default: []].append(Loss(after: after, before: before, timestamp: timestamp))
    }

    /// Adds an id of a commit. `timestamp` is not older than those of earlier commits by more than the time that a commit takes.
    mutating func insert(_ key: Key, position: Position, timestamp: Int64) {
        guard self.positions.updateValue(position, forKey: key) == nil else { return }
        self.order.append((key, timestamp))
        self.removeExcess()
    }

    /// Adds an id that the log has returned. If there are too many, the oldest of all ids are removed, in whatever order they were read.
    mutating func insertFound(_ key: Key, position: Position, timestamp: Int64) {
        guard self.positions.updateValue(position, forKey: key) == nil else { return }
        self.found.insert(Found(key: key, timestamp: timestamp))
        self.removeExcess()
    }

    private mutating func removeExcess() {
        while self.positions.count > self.countMax { self.removeOldest() }
    }

    /// Removes up to `limit` ids that are older than the window. Returns true if more remain.
    mutating func trim(now: Int64, limit: Int) -> Bool {
        // Once in a window: there may be as many losses as channels, and this function is called for each slice of them.
        if let checkedAt = self.lossesCheckedAt, checkedAt < now - self.millisecondsMax {
            self.losses = self.losses.compactMapValues { losses in
                let recent = losses.filter { $0.timestamp >= now - self.millisecondsMax }
                return recent.isEmpty ? nil : recent
            }
            self.lossesCheckedAt = self.losses.isEmpty ? nil : now
        }
        var left = limit
        while let oldest = self.oldestTimestamp, oldest < now - self.millisecondsMax {
            guard left > 0 else { return true }
            left -= 1
            self.removeOldest()
        }
        return false
    }

    private var oldestTimestamp: Int64? {
        guard let found = self.found.min?.timestamp else { return self.order.first?.timestamp }
        return self.order.first.map { min($0.timestamp, found) } ?? found
    }

    private mutating func removeOldest() {
        if let found = self.found.min, self.order.first.map({ found.timestamp <= $0.timestamp }) ?? true {
            self.positions[self.found.removeMin().key] = nil
        } else {
            self.positions[self.order.removeFirst().key] = nil
        }
    }
}
