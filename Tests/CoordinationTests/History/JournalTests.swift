import AdminAPI
import Testing

@testable import Coordination

/// The events that a node records, and how long an alarm is shown. The time of an event is in milliseconds.
@Suite struct JournalTests {
    private static let start = ContinuousClock.now
    private var journal = Journal(ownID: "n1", alarmMin: .seconds(600), wallClock: { 1_700_000_000_000 })

    private static func time(_ seconds: Int) -> ContinuousClock.Instant { Self.start.advanced(by: .seconds(seconds)) }

    @Test mutating func eventsAreNumberedAndNameTheirNode() {
        let events = [
            self.journal.record(.joined, "joined the cluster as incarnation 7", viewVersion: 0),
            self.journal.record(.evicted, about: "n2", "n2 refuses connections", viewVersion: 3),
            self.journal.record(operation: "drain n3", about: "n3", by: "alice", note: "disk", viewVersion: 4),
        ]
        #expect(events.map(\.number) == [1, 2, 3] && events.map(\.node) == ["n1", "n2", "n3"])
        #expect(events.map(\.kind) == [.joined, .evicted, .operation] && events.map(\.viewVersion) == [0, 3, 4])
        #expect(events[2].by == "alice" && events[2].note == "disk" && events.allSatisfy { $0.at == 1_700_000_000_000 })
        #expect(self.journal.history.events == events)
    }

    /// An alarm is recorded once while it lasts, and shown for ten minutes after it was last raised.
    @Test mutating func anAlarmIsRecordedOnceAndShownForAWhile() {
        let rows: [(at: Int, raised: String?, isRecorded: Bool, shown: String?)] = [
            (0, "a", true, "a"),
            (1, "a", false, "a"),
            // Two alarms that alternate are recorded once each.
            (2, "b", true, "b"),
            (3, "a", false, "a"),
            (4, "b", false, "b"),
            (603, nil, false, "b"),
            (604, nil, false, nil),
            // After the alarm has ended, the same text is a new alarm.
            (605, "a", true, "a"),
            (700, "a", false, "a"),
            (1299, nil, false, "a"),
            (1300, nil, false, nil),
        ]
        for row in rows {
            let now = Self.time(row.at)
            let event = row.raised.flatMap { self.journal.raise($0, viewVersion: 5, at: now) }
            #expect((event != nil) == row.isRecorded, "at \(row.at)")
            if let event { #expect(event.kind == .alarm && event.text == row.raised && event.node == "n1" && event.viewVersion == 5) }
            _ = self.journal.expire(at: now)
            #expect(self.journal.alarm == row.shown, "at \(row.at)")
        }
    }

    @Test mutating func theJournalWakesWhenTheAlarmEnds() {
        #expect(self.journal.expire(at: Self.time(0)) == nil)
        _ = self.journal.raise("a", viewVersion: 1, at: Self.time(0))
        #expect(self.journal.expire(at: Self.time(10)) == Self.time(600))
        _ = self.journal.raise("a", viewVersion: 1, at: Self.time(10))
        #expect(self.journal.expire(at: Self.time(10)) == Self.time(610))
        #expect(self.journal.expire(at: Self.time(610)) == nil && self.journal.alarm == nil)
    }

    /// Only the newest 16 alarms are compared. If 17 alarms alternate, each is recorded every time.
    @Test mutating func theMemoryOfAlarmsIsBounded() {
        for round in 1...2 {
            for number in 0..<17 { #expect(self.journal.raise("alarm \(number)", viewVersion: 1, at: Self.start) != nil, "round \(round)") }
        }
    }

    @Test mutating func theChangesOfANewViewAreRecorded() {
        func view(_ version: Int64, _ state: NodeState, owner: String?) -> ClusterView {
            ClusterView(
                version: version, controllerEpoch: 1, writer: "", nodes: [.init(id: "n1", incarnation: 7, state: state)],
                partitions: [.init(owner: owner, ownerEpoch: owner == nil ? 0 : 1)])
        }
        let (first, second) = (view(1, .joining, owner: nil), view(2, .active, owner: "n1"))
        var reasons = ViewReasons()
        #expect(self.journal.record(first, before: nil, reasons).map(\.text) == ["the view is at version 1: 1 nodes, 0 of 1 partitions owned"])
        reasons.nodes = ["n1": "it is the controller"]
        let events = self.journal.record(second, before: first, reasons)
        #expect(events.map(\.kind) == [.node, .granted])
        #expect(events.map(\.text) == ["joining is now active: it is the controller", "1 partition without an owner assigned (1 to n1)"])
        #expect(self.journal.record(second, before: second, ViewReasons()).isEmpty)
    }
}
