import NIOCore
import Partitioning
import Pipeline
import TestKit
import Testing

@testable import Relay

@Suite struct RelayFrameTests {
    /// Random frames of every kind, written and read again.
    @Test(arguments: UInt64(0)..<300)
    func everyFrameComesBackAsItWasWritten(_ seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        let frame = Self.frame(&random)
        let bytes = Self.bytes(frame)
        let read = try RelayFrame(bytes)
        #expect("\(read)" == "\(frame)")
        #expect(Self.bytes(read) == bytes)
    }

    /// Damaged bytes are refused or read as another frame, and never trap.
    @Test(arguments: UInt64(0)..<300)
    func damagedBytesAreRefused(_ seed: UInt64) {
        var random = SplitMix(seed: seed)
        let bytes = Array(Self.bytes(Self.frame(&random)).readableBytesView)
        for _ in 0..<40 { _ = try? RelayFrame(ByteBuffer(bytes: random.mutate(bytes, with: ["\u{0}\u{0}\u{0}\u{1}", "\u{7f}"]))) }
        for length in 0..<min(bytes.count, 200) {
            #expect(throws: RelayFrame.Malformed.self) { try RelayFrame(ByteBuffer(bytes: bytes.prefix(length))) }
        }
        #expect(throws: RelayFrame.Malformed.self) { try RelayFrame(ByteBuffer(bytes: bytes + [0])) }
    }

    /// A count that claims more elements than there are bytes reserves no memory for them.
    @Test func aLargeCountReservesNoMemory() {
        #expect(throws: RelayFrame.Malformed.self) { try RelayFrame(ByteBuffer(bytes: [4, 0xff, 0xff, 0xff, 0xff])) }
    }

    /// A history that does not fit into a frame is cut after a whole event.
    @Test func aLargeHistoryIsCut() throws {
        let events = (1...200).map { offset in
            SequencedEvent(
                event: Event(channel: ChannelName("a")!, payload: ByteBuffer(repeating: 7, count: 60_000)),
                position: Position(epoch: 1, offset: UInt64(offset)), timestamp: 0)
        }
        let frame = RelayFrame.reply(relay: 0, token: 1, .history(LogSlice(events: events, oldest: events[0].position)))
        guard case .reply(0, 1, .history(let slice)) = try RelayFrame(Self.bytes(frame)) else { return #expect(Bool(false), "another frame") }
        #expect((50..<100).contains(slice.events.count))
        #expect(slice.events.map(\.position) == events.prefix(slice.events.count).map(\.position))
    }

    private static func bytes(_ frame: RelayFrame) -> ByteBuffer {
        var buffer = ByteBuffer()
        frame.write(into: &buffer)
        return buffer
    }

    private static func frame(_ random: inout SplitMix) -> RelayFrame {
        let count = random.below(5)
        switch random.below(15) {
        case 0:
            return .publish(
                relay: UInt16(random.below(9)), id: random.next(),
                (0..<count).map { _ in
                    RelayFrame.PublishedEvent(event: self.event(&random), ownerEpoch: Int64(random.number()), flow: random.next())
                })
        case 1:
            return .interest(
                (0..<count).map { _ in
                    RelayFrame.ChannelInterest(
                        channel: self.channel(&random), subscribers: random.below(1000), wanted: [.open, .unchanged, .close][random.below(3)])
                })
        case 2: return .acquired((0..<count).map { _ in self.grant(&random) })
        case 3: return .ended((0..<count).map { _ in self.grant(&random) })
        case 4:
            return .opened(
                (0..<count).map { _ in
                    RelayFrame.OpenedChannel(channel: self.channel(&random), head: self.position(&random), ownerEpoch: Int64(random.number()))
                })
        case 5:
            var relayed = RelayedEvents()
            for _ in 0..<count { relayed.append(self.sequenced(&random), under: Int64(random.below(3))) }
            return .events(relayed)
        case 6:
            let outcomes: [PublishOutcome] = [
                .published(self.position(&random), subscribers: random.below(9)), .duplicate(self.position(&random), subscribers: 0),
                .refused(.logUnavailable("the log is away")), .refused(.overloaded), .refused(.tooManyChannels), .refused(.stopping), .refused(.moved),
                .refused(.ownerUnreachable),
            ]
            return .outcomes(
                relay: 0, id: random.next(), outcomes.enumerated().map { RelayFrame.IndexedOutcome(index: $0, outcome: $1) })
        case 7:
            return .request(
                relay: 3, token: random.next(),
                .history(self.channel(&random), after: self.position(&random), limit: random.below(1000), bytesMax: random.below(1000)))
        case 8:
            let channel = self.channel(&random)
            return .request(relay: 3, token: 1, [.barrier(channel), .head(channel), .subscribers(channel)][random.below(3)])
        case 9: return .request(relay: 0, token: 9, .channels(prefix: random.chance(50) ? "" : "ä:", after: random.chance(50) ? nil : "b", limit: 7))
        case 10:
            return .reply(
                relay: 1, token: 2,
                .history(
                    LogSlice(events: (0..<count).map { _ in self.sequenced(&random) }, oldest: random.chance(50) ? nil : self.position(&random))))
        case 11:
            let listed = (0..<count).map { _ in
                ListedChannel(channel: self.channel(&random), head: self.position(&random), subscribers: random.below(9))
            }
            return .reply(relay: 1, token: 2, .channels(listed))
        case 12: return .content(self.grant(&random), ByteBuffer(bytes: random.bytes(upTo: 300)))
        case 13: return .staged(self.grant(&random), [.incomplete, .complete, .refused("the content is too large")][random.below(3)])
        default:
            return .reply(
                relay: 1, token: 2,
                [
                    .opened(head: self.position(&random), ownerEpoch: 7), .head(self.position(&random)), .subscribers(3),
                    .failed(LogError(.unavailable, "away")), .moved,
                ][random.below(5)])
        }
    }

    private static func channel(_ random: inout SplitMix) -> ChannelName {
        ChannelName(String(repeating: "c", count: 1 + random.below(199)) + "x")!
    }

    private static func position(_ random: inout SplitMix) -> Position { Position(epoch: random.number(), offset: random.number()) }

    private static func grant(_ random: inout SplitMix) -> Grant { Grant(partition: random.below(65_536), ownerEpoch: Int64(random.number())) }

    private static func event(_ random: inout SplitMix) -> Event {
        Event(
            channel: self.channel(&random), payload: ByteBuffer(bytes: random.bytes(upTo: 300)), type: random.chance(50) ? nil : "tick",
            messageID: random.chance(50) ? nil : String(repeating: "m", count: random.below(201)))
    }

    private static func sequenced(_ random: inout SplitMix) -> SequencedEvent {
        SequencedEvent(event: self.event(&random), position: self.position(&random), timestamp: Int64(random.number()))
    }
}
