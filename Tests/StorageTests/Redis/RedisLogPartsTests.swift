import NIOCore
import Partitioning
import PipelineTestKit
import TestKit
import Testing

@testable import Pipeline
@testable import Storage

/// The pure parts of the log on Redis.
@Suite struct RedisLogPartsTests {
    // MARK: - Metadata

    @Test(arguments: [nil, "", "comment", "a=b 3:c", "ß:"], [nil, "", "m1", "-=1:x", " "])
    func metadataIsReadAsItWasWritten(type: String?, messageID: String?) {
        var event = SequencedEvent(event: Event(channel: channel("c"), payload: ByteBuffer()), position: position(1, 1), timestamp: 1_700_000_000_123)
        event.event.type = type
        event.event.messageID = messageID
        // The script adds the time.
        var buffer = ByteBuffer(string: "1700000000124 ")
        RedisEvent.writeMetadata(of: event, into: &buffer)
        #expect(
            RedisEvent.metadata(buffer)
                == RedisEvent.Metadata(storedAt: 1_700_000_000_124, timestamp: 1_700_000_000_123, type: type, messageID: messageID))
    }

    @Test(arguments: ["", " ", "1", "1 -", "1 x -", "x 1 -", "1 1 ", "1 1 x", "1 1 5:abc", "1 1 -1:a", "1 1 9999999999999999999:a", "1 1 -m", "1 1 1:ab"])
    func damagedMetadataIsNil(text: String) {
        #expect(RedisEvent.metadata(ByteBuffer(string: text)) == nil)
    }

    @Test(arguments: 1...5 as ClosedRange<UInt64>)
    func randomMetadataNeverCrashes(seed: UInt64) {
        var random = SplitMix(seed: seed)
        for _ in 0..<5000 {
            _ = RedisEvent.metadata(ByteBuffer(bytes: random.mutate(Array("1700000000000 1700000000000 7:comment=m1".utf8), with: [" ", ":", "=", "-"])))
        }
    }

    // MARK: - Seals

    private func seal(_ ownerEpoch: OwnerEpoch = 3, floor: UInt64 = 50, trusted: UInt64 = 0) -> RedisSeals.Seal {
        RedisSeals.Seal(ownerEpoch: ownerEpoch, floor: floor, trusted: trusted, storage: "run")
    }

    @Test func grantsAreCheckedAgainstTheirSeals() throws {
        var seals = RedisSeals()
        seals[3] = self.seal()
        #expect(try seals.seal(Grant(partition: 3, ownerEpoch: 3)).floor == 50)
        #expect(throws: LogError.self) { try seals.seal(Grant(partition: 3, ownerEpoch: 2)) }
        #expect(throws: LogError.self) { try seals.seal(Grant(partition: 3, ownerEpoch: 4)) }
        #expect(throws: LogError.self) { try seals.seal(Grant(partition: 2, ownerEpoch: 3)) }
        seals.release(Grant(partition: 3, ownerEpoch: 2))
        #expect(seals.grants == [Grant(partition: 3, ownerEpoch: 3)])
        seals.release(Grant(partition: 3, ownerEpoch: 3))
        #expect(seals.grants.isEmpty)
    }

    /// Epochs of a newer owner are above those of an older one, even if Redis has lost the floor.
    @Test func theLeastFloorGrowsWithTheOwnerEpoch() {
        var seals = RedisSeals()
        let first = seals.leastFloor(sealing: Grant(partition: 0, ownerEpoch: 1))
        #expect(seals.leastFloor(sealing: Grant(partition: 0, ownerEpoch: 2)) > first + 1_000_000)
        seals[0] = self.seal(1, floor: first + 7)
        #expect(seals.leastFloor(sealing: Grant(partition: 0, ownerEpoch: 1)) == first + 7)
    }

    @Test func aHeadIsTrustedByItsEpochOrByWhatTheOwnerKnows() {
        let seals = RedisSeals()
        func head(_ stored: Position?, known: Position?, trusted: UInt64) -> (Position, Position?) {
            let found = seals.head(stored: stored, known: known, under: self.seal(floor: 50, trusted: trusted))
            return (found.head, found.lostAfter)
        }
        // Nothing was lost.
        #expect(head(position(7, 4), known: nil, trusted: 0) == (position(7, 4), nil))
        #expect(head(nil, known: nil, trusted: 0) == (position(50, 0), nil))
        // Events may have been lost after this head.
        #expect(head(position(7, 4), known: nil, trusted: 50) == (position(50, 0), position(7, 4)))
        // The owner knows that none was.
        #expect(head(position(7, 4), known: position(7, 4), trusted: 50) == (position(7, 4), nil))
        // An append whose reply was lost.
        #expect(head(position(7, 5), known: position(7, 4), trusted: 50) == (position(7, 5), nil))
        // The owner knows that there was no event.
        #expect(head(nil, known: position(45, 0), trusted: 50) == (position(45, 0), nil))
        // The owner knows that some were, also in an epoch that is trusted.
        #expect(head(position(7, 3), known: position(7, 4), trusted: 0) == (position(50, 0), position(7, 3)))
        #expect(head(position(60, 3), known: position(60, 4), trusted: 50) == (position(61, 0), position(60, 3)))
        #expect(head(nil, known: position(60, 4), trusted: 50) == (position(61, 0), position(60, 0)))
    }

    // MARK: - Calls

    /// Redis executes each call by itself, so a later call may be executed although an earlier one was refused.
    @Test func aBatchOfWhichOneCallWasExecutedIsNeverReportedAsNotStored() {
        let refused = LogError(.unavailable, "full")
        for order in [[refused, nil], [nil, refused], [nil, refused, nil], [refused, nil, refused]] {
            var outcome = PartitionOutcome()
            for error in order { outcome.add(error) }
            #expect(code(outcome.result) == .uncertain)
        }
        var outcome = PartitionOutcome()
        outcome.add(refused)
        outcome.add(refused)
        #expect(code(outcome.result) == .unavailable)
        outcome = PartitionOutcome()
        outcome.add(LogError(.lost, "gap"))
        outcome.add(nil)
        #expect(code(outcome.result) == .lost)
    }

    @Test func aBatchIsSplitByCountAndBytesAndKeepsItsOrder() {
        var batch = LogBatch()
        let grants = (0..<3).map { batch.add(Grant(partition: $0, ownerEpoch: 1)) }
        for number in 0..<600 {
            let payload = ByteBuffer(repeating: 0x78, count: number == 300 ? AppendCalls.bytesMax : 10)
            let event = Event(channel: channel("c\(number % 3)"), payload: payload)
            batch.add(SequencedEvent(event: event, position: position(1, UInt64(number / 3 + 1)), timestamp: 0), grantIndex: grants[number % 3])
        }
        let calls = AppendCalls(batch, grants: [0, 2]).calls
        #expect(calls.flatMap(\.events) == (0..<600).filter { $0 % 3 != 1 })
        #expect(calls.allSatisfy { $0.events.count <= AppendCalls.eventsMax && ($0.bytes <= AppendCalls.bytesMax || $0.events.count == 1) })
        #expect(calls.count == 3)
        for call in calls { #expect(Set(call.grants) == Set(call.events.map { batch.grantIndices[$0] }) && Set(call.grants).count == call.grants.count) }
    }
}
