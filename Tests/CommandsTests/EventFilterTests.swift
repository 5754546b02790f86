import AdminAPI
import ArgumentParser
import Testing

@testable import Commands

@Suite struct EventFilterTests {
    private static let texts = [
        event(1, "joined", "n2", 0, "joined the cluster as incarnation 14"), event(2, "granted", "", 7, "6 partitions from n2 to n12"),
        event(3, "operation", "n2", 7, "drain n1 by ann"), event(4, "node", "n1", 8, "active is now draining"),
        event(5, "alarm", "n3", 9, "two nodes serve a partition of n1. Stop one"),
    ]

    private static func event(_ number: Int, _ kind: String, _ node: String, _ view: Int, _ text: String) -> String {
        "{\"number\":\(number),\"kind\":\"\(kind)\",\"at\":1767225600000,\"node\":\"\(node)\",\"view\":\(view),\"text\":\"\(text)\",\"new\":{ \"a\":1}}"
    }

    private static let json = "{\"through\":\"n2\",\"events\":[\(texts.joined(separator: ","))]}"

    private func numbers(_ filter: EventFilter) throws -> [Int64] { try ClusterEvents(Self.json).events.filter(filter.matches).map(\.number) }

    @Test func eachConditionMustMatch() throws {
        #expect(try self.numbers(EventFilter()) == [1, 2, 3, 4, 5])
        #expect(try self.numbers(EventFilter(node: "n1")) == [3, 4, 5], "about the node, or with its id in the text, but not as a part of another id")
        #expect(try self.numbers(EventFilter(node: "n12")) == [2])
        #expect(try self.numbers(EventFilter(kinds: [.operation, .alarm])) == [3, 5])
        #expect(try self.numbers(EventFilter(viewMin: 8)) == [4, 5])
        #expect(try self.numbers(EventFilter(node: "n1", kinds: [.node, .joined], viewMin: 7)) == [4])
    }

    @Test func jsonIsUnchanged() throws {
        let fetched = ClusterClient.Fetched(report: try ClusterEvents(Self.json), json: Self.json)
        #expect(EventFilter().json(fetched) == Self.json)
        #expect(EventFilter(kinds: [.node]).json(fetched) == "{\"through\":\"n2\",\"events\":[\(Self.texts[3])]}")
        #expect(EventFilter(kinds: [.elected]).json(fetched) == "{\"through\":\"n2\",\"events\":[]}")
    }

    @Test func batchesHaveOneHeader() throws {
        let events = try ClusterEvents(Self.json).events
        var table = EventTable()
        var lines = table.lines(Array(events[..<2]), on: ClusterSamples.plain)
        #expect(
            lines == [
                "NUMBER  TIME                  KIND          NODE      VIEW    WHAT",
                "1       2026-01-01T00:00:00Z  joined        n2        0       joined the cluster as incarnation 14",
                "2       2026-01-01T00:00:00Z  granted       -         7       6 partitions from n2 to n12",
            ])
        // A long node name widens its column for all following rows, and no event is printed twice.
        var long = events[2]
        long.node = "a-name-of-some-length"
        lines = table.lines([long, events[3]], on: ClusterSamples.plain)
        #expect(
            lines == [
                "3       2026-01-01T00:00:00Z  operation     a-name-of-some-length  7       drain n1 by ann",
                "4       2026-01-01T00:00:00Z  node          n1                     8       active is now draining",
            ])
        #expect(table.lines([], on: ClusterSamples.plain) == [])
        #expect(EventTable().withHeader == ["NUMBER  TIME                  KIND          NODE      VIEW    WHAT"], "there is a header without events")
    }

    /// A newer node may report kinds that this version does not know.
    @Test func anUnknownKindIsShownByItsName() throws {
        let text = Self.event(6, "quorum_lost", "n2", 9, "text")
        let events = try ClusterEvents("{\"through\":\"n2\",\"events\":[\(text)]}").events
        #expect(events[0].kind == .other("quorum_lost"))
        var table = EventTable()
        #expect(table.lines(events, on: ClusterSamples.plain).last == "6       2026-01-01T00:00:00Z  quorum_lost   n2        9       text")
    }

    @Test func aFilteredTableShowsHowManyEventsThereAreInTotal() throws {
        let report = try ClusterEvents(Self.json)
        #expect(report.table(on: ClusterSamples.plain).hasSuffix("\nreported by n2"))
        #expect(report.table(of: Array(report.events[..<2]), on: ClusterSamples.plain).hasSuffix("\nreported by n2: 2 of 5 events"))
    }

    @Test func anUnknownKindListsTheKinds() throws {
        #expect(throws: Never.self) { try EventsCommand.parse(["--kind", "alarm", "--kind", "session_lost", "--node", "n1", "--since", "7", "-f"]) }
        #expect(throws: (any Error).self) { try EventsCommand.parse(["--since", "-1"]) }
        do {
            _ = try EventsCommand.parse(["--kind", "well"])
            Issue.record("the command accepted an unknown kind")
        } catch {
            let message = EventsCommand.message(for: error)
            for kind in ClusterEvent.Kind.allCases { #expect(message.contains(kind.rawValue), "\(message)") }
            #expect(EventsCommand.exitCode(for: error).rawValue == 64)
        }
    }
}

extension EventTable {
    fileprivate var withHeader: [String] {
        var table = self
        return table.lines([], on: ClusterSamples.plain)
    }
}
