import DequeModule
import Pipeline
@testable import Storage
import PipelineTestKit
import TestKit
import Testing

/// The same history in its simplest form: one array that is searched from end to end.
private struct NaiveHistory {
    struct Entry: Equatable {
        var channel: ChannelName
        var position: Position
        var timestamp: Int64
        var cost: Int
        var element: Int
    }

    var bounds: HistoryIndex<Int>.Bounds
    var entries: [Entry] = []
    var heads: [ChannelName: Position] = [:]

    mutating func append(_ element: Int, to channel: ChannelName, at position: Position, timestamp: Int64, bytes: Int) {
        if let head = self.heads[channel], position <= head { return }
        if self.heads[channel]?.next != position { self.entries.removeAll { $0.channel == channel } }
        let newest = self.entries.last { $0.channel == channel }?.timestamp ?? timestamp
        self.entries.append(
            Entry(channel: channel, position: position, timestamp: max(newest, timestamp), cost: bytes, element: element)
        )
        self.heads[channel] = position
        while self.entries.count(where: { $0.channel == channel }) > self.bounds.eventsMax {
            self.entries.remove(at: self.entries.firstIndex { $0.channel == channel }!)
        }
        while self.cost > self.bounds.bytesMax { self.entries.removeFirst() }
    }

    var cost: Int { self.entries.reduce(0) { $0 + $1.cost } }

    mutating func removeExpired(now: Int64) {
        while let first = self.entries.first, first.timestamp < self.bounds.horizon(now: now) { self.entries.removeFirst() }
    }

    mutating func forget(_ channel: ChannelName) {
        self.heads[channel] = nil
        self.entries.removeAll { $0.channel == channel }
    }

    func held(of channel: ChannelName, now: Int64) -> [Entry] {
        self.entries.filter { $0.channel == channel && $0.timestamp >= self.bounds.horizon(now: now) }
    }
}

@Suite struct HistoryIndexTests {
    @Test(arguments: 0..<6 as Range<UInt64>)
    func aRandomWalkMatchesTheNaiveModel(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let bounds = HistoryIndex<Int>.Bounds(
            eventsMax: Int.random(in: 1...12, using: &random), ageMillisecondsMax: Int64.random(in: 10...500, using: &random),
            bytesMax: Int.random(in: 500...20_000, using: &random)
        )
        let channels = (0..<Int.random(in: 1...20, using: &random)).map { channel("walk:\($0)") }
        var index = HistoryIndex<Int>(bounds: bounds)
        var model = NaiveHistory(bounds: bounds)
        var now: Int64 = 1_000_000
        var epoch: UInt64 = 1

        // Long enough that the index removes its dead places several times.
        for step in 0..<16_000 {
            // The clock sometimes steps back.
            now += Int64.random(in: -3...6, using: &random)
            let channel = channels.randomElement(using: &random)!
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<80:
                var position = model.heads[channel]?.next ?? Position(epoch: epoch, offset: 1)
                if Int.random(in: 0..<50, using: &random) == 0 {
                    epoch += 1
                    position = Position(epoch: epoch, offset: UInt64.random(in: 1...9, using: &random))
                }
                if Int.random(in: 0..<20, using: &random) == 0 { position.offset -= min(position.offset - 1, 2) }
                let cost = Int.random(in: 1...900, using: &random)
                index.append(step, to: channel, at: position, timestamp: now, bytes: cost)
                model.append(step, to: channel, at: position, timestamp: now, bytes: cost)
            case 80..<90:
                while index.removeExpired(now: now, limit: 3) {}
                model.removeExpired(now: now)
            case 90..<93:
                epoch += 1
                index.forget(channel)
                model.forget(channel)
            case 93..<95:
                epoch += 1
                let head = Position(epoch: epoch, offset: 7)
                index.remember(channel, head: head, timestamp: now)
                model.forget(channel)
                model.heads[channel] = head
            default:
                let stop = step - Int.random(in: 0..<60, using: &random)
                while index.removeOldest(limit: 5, while: { $0.element < stop }) {}
                while let first = model.entries.first, first.element < stop { model.entries.removeFirst() }
            }
            if step % 8 < 2 { try self.compare(index, model, channel: channel, now: now, random: &random) }
        }
    }

    private func compare(
        _ index: HistoryIndex<Int>, _ model: NaiveHistory, channel: ChannelName, now: Int64, random: inout SplitMix
    ) throws {
        try #require(index.count == model.entries.count)
        try #require(index.accountedBytes == model.cost)
        try #require(index.channelCount == model.heads.count)
        try #require(index.head(of: channel) == model.heads[channel])
        try #require(index.elementsInOrder == model.entries.map(\.element))
        try #require(index.entries(of: channel).map(\.element) == model.entries.filter { $0.channel == channel }.map(\.element))

        let held = model.held(of: channel, now: now)
        var after = model.heads[channel] ?? Position(epoch: 1, offset: 0)
        after.offset -= min(after.offset, UInt64.random(in: 0...15, using: &random))
        if Int.random(in: 0..<10, using: &random) == 0 { after.epoch += Bool.random(using: &random) ? 1 : 0 }
        let limit = Int.random(in: 0...12, using: &random)
        let slice = index.elements(of: channel, after: after, limit: limit, now: now)
        let expected = held.filter { $0.position > after }.prefix(limit)
        try #require(slice.elements == expected.map(\.element))
        try #require(slice.first == (expected.first?.position ?? slice.first))
        try #require(slice.oldest == held.first?.position)
    }

    @Test func aBusyChannelRemovesNoEntriesOfOthers() {
        var index = HistoryIndex<Int>(bounds: .init(eventsMax: 10, ageMillisecondsMax: 1000, bytesMax: .max))
        index.append(-1, to: channel("quiet"), at: Position(epoch: 1, offset: 1), timestamp: 0, bytes: 1)
        for offset in 1...100_000 {
            index.append(offset, to: channel("busy"), at: Position(epoch: 1, offset: UInt64(offset)), timestamp: 0, bytes: 1)
        }
        #expect(index.count == 11)
        #expect(index.elementsInOrder == [-1] + Array(99_991...100_000))
    }

    @Test func theHeadStaysAfterItsEntriesHaveExpired() {
        var index = HistoryIndex<Int>(bounds: .init(eventsMax: 10, ageMillisecondsMax: 1000, bytesMax: .max))
        let position = Position(epoch: 3, offset: 9)
        index.append(1, to: channel("a"), at: position, timestamp: 0, bytes: 1)
        #expect(index.removeExpired(now: 5000, limit: 10) == false)
        #expect(index.count == 0)
        #expect(index.head(of: channel("a")) == position)
        #expect(index.elements(of: channel("a"), after: Position(epoch: 3, offset: 0), limit: 10, now: 5000).oldest == nil)
    }

    @Test func anEventLargerThanTheLimitIsNotKept() {
        var index = HistoryIndex<Int>(bounds: .init(eventsMax: 10, ageMillisecondsMax: 1000, bytesMax: 100))
        index.append(1, to: channel("a"), at: Position(epoch: 1, offset: 1), timestamp: 0, bytes: 101)
        #expect(index.count == 0)
        #expect(index.accountedBytes == 0)
        #expect(index.head(of: channel("a")) == Position(epoch: 1, offset: 1))
    }
}

extension HistoryIndex {
    /// All elements of all channels, in the order in which they were appended.
    fileprivate var elementsInOrder: [Element] {
        // One number for each channel. While it is negative, it counts the dead places to skip. Then it is the index of the next entry.
        var next = self.channels.map { -$0.deadPlaces }
        var elements: [Element] = []
        for place in self.order {
            let index = next[Int(place)]
            next[Int(place)] += 1
            if index >= 0 { elements.append(self.channels[Int(place)].entries[index].element) }
        }
        return elements
    }
}
