import AdminAPI
import Testing

@testable import Commands

@Suite struct LayoutTests {
    /// A terminal with this many columns.
    static func terminal(_ columns: Int?, isWide: Bool = false) -> Terminal {
        Terminal(descriptor: 1, isInteractive: columns != nil, noColour: "1", kind: nil, columns: columns).wide(isWide)
    }

    private func table(_ rows: [String]..., names: Int? = nil) -> Table {
        var table = Table([.init("ST"), .init("NODE", widthMin: 6), .init("OWNS"), .init("LINK")], names: names)
        for row in rows { table.add(row) }
        return table
    }

    @Test func columnsAlign() {
        let table = self.table(["UA", "n1", "3", "l"], ["D", "n22", "4,000", "-"])
        let text = "ST  NODE    OWNS   LINK\nUA  n1      3      l\nD   n22     4,000  -"
        #expect(table.text(on: Self.terminal(nil)) == text && table.text(on: Self.terminal(23)) == text)
        #expect(table.text(on: Self.terminal(nil)) { row, column, cell in row == 1 && column == 1 ? "<\(cell)>" : cell }.contains("D   <n22>     4,000"))
    }

    @Test func theLastColumnsAreLeftOutAndListed() {
        let table = self.table(["UA", "n1", "3", "link-of-n1:7400"])
        #expect(table.text(on: Self.terminal(32)) == "ST  NODE    OWNS\nUA  n1      3\n not shown (use -w): link")
        #expect(table.text(on: Self.terminal(32, isWide: true)) == table.text(on: Self.terminal(nil)))
        #expect(table.text(on: Self.terminal(33)) == table.text(on: Self.terminal(nil)))
    }

    @Test func aLongNameIsShortenedBeforeAColumnIsLeftOut() {
        let name = "ip-10-0-0-12.eu-west-1.compute.internal"
        let table = self.table(["UA", name, "3", "l"], names: 1)
        #expect(table.text(on: Self.terminal(40)).contains("UA  ip-10-0-0-12…te.internal  3     l"))
        #expect(table.text(on: Self.terminal(nil)).contains(name) && table.text(on: Self.terminal(80)).contains(name))
    }

    @Test func textBreaksBetweenWords() {
        #expect(wrapped("a bb ccc", to: nil) == ["a bb ccc"] && wrapped("a bb ccc", to: 8) == ["a bb ccc"])
        #expect(wrapped("a bb ccc", to: 4) == ["a bb", "ccc"])
        #expect(wrapped("abcdefgh ij", to: 3) == ["abc", "def", "gh", "ij"])
        #expect(wrapped("  a bb", to: 4) == ["  a", "bb"])
        #expect(wrapped("日本語 日本", to: 6) == ["日本語", "日本"] && displayWidth("日本") == 4 && displayWidth("é") == 1)
        for width in 2...30 {
            let lines = wrapped("Of the 256 partitions 85 are without an-owner-that-can-be-reached, 日本語日本語 and e\u{301}e\u{301}", to: width)
            #expect(lines.allSatisfy { displayWidth($0) <= width }, "\(width): \(lines)")
        }
    }

    @Test func tooLongTextsAreCut() {
        #expect(cut("abcdef", to: 6) == "abcdef" && cut("abcdef", to: 4) == "abc…" && cut("日本語", to: 4) == "日…" && cut("abc", to: nil) == "abc")
        #expect(cutMiddle("abcdefgh", to: 5) == "ab…gh" && cutMiddle("abc", to: 3) == "abc")
    }

    @Test func longFactsAreWrappedInTheirColumn() {
        var facts = Facts()
        facts.add("a", "one two three four five")
        facts.add("bbb", "six")
        #expect(facts.text(on: Self.terminal(nil)) == "a    one two three four five\nbbb  six")
        #expect(facts.text(on: Self.terminal(20)) == "a    one two three\n     four five\nbbb  six")
        #expect(facts.text(on: Self.terminal(nil), labelWidth: 5) == "a      one two three four five\nbbb    six")
        #expect(Self.terminal(20).sentence("one two three four five", lead: "! ") == "! one two three four\n  five")
    }

    @Test func theVariableCOLUMNSTakesPrecedenceAndAPipeHasNoWidth() {
        #expect(Self.terminal(100).width == 100 && Self.terminal(100, isWide: true).tableWidth == nil && Self.terminal(100, isWide: true).width == 100)
        #expect(Self.terminal(nil).width == nil)
        #expect(Terminal(descriptor: 1, isInteractive: false, noColour: nil, kind: nil, columns: 80).width == nil)
        #expect(Self.terminal(3).width == 20)
    }

    /// Every table and every fact of every report, at every terminal width.
    @Test(arguments: Array(46...130) + [200])
    func nothingIsWiderThanTheTerminal(_ width: Int) throws {
        let terminal = Self.terminal(width)
        let long = "machine-17.eu-west-1.compute.example.internal"
        let members = try ClusterMembers(
            ClusterSamples.members(
                ClusterSamples.member(long, state: "draining", desired: "draining", movingOut: 8),
                ClusterSamples.member("n3", presence: "suspect", notSeenBy: ["n7", long]),
                ClusterSamples.member("n11", state: "down")))
        let partition =
            "{\"partition\":4,\"owner\":\"\(long)\",\"owner_epoch\":9,\"state\":\"moving\",\"moving_to\":\"n5\",\"reason\":\"drain\",\"pinned_to\":\"n5\",\"api\":\"n2:8081\"}"
        let plan = try ClusterPlan(
            ClusterSamples.plan(
                moves: 52, waiting: 52, settled: false, pairs: "{\"from\":\"n1\",\"to\":\"n12\",\"reason\":\"balance\",\"count\":10}",
                refusals: "\"partition 3 is pinned to n9, but the cluster has never had a node with this id, so the partition cannot move\""))
        let event = ClusterEvent.lost("n2", at: 1, view: 8123, String(repeating: "was away for long ", count: 9))
        let status = try NodeStatus(json: Array(StatusTests.json.utf8))
        let overview = try ClusterOverview(
            ClusterSamples.overview(moving: 3, health: "degraded", reasons: "\"n7 cannot reach n2, and this has been so for several minutes.\""))
        let check = Check.warn("partitions", String(repeating: "many words ", count: 20), do: String(repeating: "see the logs ", count: 10))
        var events = EventTable()
        let texts = [
            members.table(on: terminal), try ClusterPartitions(ClusterSamples.partitions(partition)).table(on: terminal),
            try ClusterPartitions(ClusterSamples.partitions(partition, channel: "thread:42")).location(on: terminal), plan.table(on: terminal),
            events.lines([event], on: terminal).joined(separator: "\n"), status.table(on: terminal), overview.table(on: terminal),
            DoctorCommand.row(check, on: terminal),
            ClusterSection.unknown(String(repeating: "no ", count: 60), json: "", isTemporary: false).table(with: status, on: terminal),
        ]
        for line in texts.flatMap({ $0.split(separator: "\n") }) { #expect(displayWidth(line) <= width, "\(line)") }
        // Changing values are shown at any width.
        #expect(texts[0].hasPrefix("ST  NODE"))
        if width >= 80 {
            for header in ["OWNS", "MOVING", "CONNECTIONS", "PUBLISHED", "DELIVERED"] { #expect(texts[0].contains(header)) }
        }
        #expect(texts[4].contains("KIND") && texts[4].contains("WHAT"))
    }

    @Test(arguments: Array(20...130))
    func eventsOfANodeWithALongNameAreNotWider(_ width: Int) {
        let name = "ip-10-0-0-12.eu-west-1.compute.internal.example.org"
        func event(_ node: String) -> ClusterEvent {
            ClusterEvent.lost(node, at: 1000, view: 8123, String(repeating: "was away for long ", count: 9))
        }
        for events in [[event(name)], [event("n2"), event(name)]] {
            let text = ClusterEvents(through: name, events: events).table(on: Self.terminal(width))
            for line in text.split(separator: "\n") { #expect(displayWidth(line) <= width && !line.hasSuffix(" "), "\(line)|") }
        }
        // The header was printed before the long name appeared.
        var table = EventTable()
        let lines = table.lines([event("n2")], on: Self.terminal(width)) + table.lines([event(name)], on: Self.terminal(width))
        for line in lines { #expect(displayWidth(line) <= width && !line.hasSuffix(" "), "\(line)|") }
    }

    @Test func narrowEventsShortenTheNameAndThenOmitTheDate() {
        let event = ClusterEvent.lost("ip-10-0-0-12.eu-west-1.compute.internal.example.org", at: 1000, view: 8, "is away")
        func lines(_ width: Int) -> [String] {
            var table = EventTable()
            return table.lines([event], on: Self.terminal(width))
        }
        #expect(
            lines(80) == [
                "TIME                  KIND          NODE", "    WHAT", "1970-01-01T00:00:01Z  session_lost  ip-10-0-0-12…example.org", "    is away",
            ])
        #expect(lines(40) == ["TIME       KIND          NODE", "    WHAT", "00:00:01Z  session_lost  ip-10-…le.org", "    is away"])
        #expect(lines(20) == ["TIME", "KIND", "NODE", "    WHAT", "00:00:01Z", "session_lost", "ip-1…org", "    is away"])
    }
}

extension ClusterEvent {
    fileprivate static func lost(_ node: String, at time: Int64, view: Int64, _ text: String) -> ClusterEvent {
        var event = ClusterEvent(kind: .sessionLost, at: time, node: node, viewVersion: view, text: text)
        event.number = 7
        return event
    }
}
