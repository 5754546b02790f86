import Testing

@testable import Commands

@Suite struct EventStreamParserTests {
    private func parse(_ text: String) -> [EventStreamParser.Item] {
        var parser = EventStreamParser()
        return parser.feed(text.utf8)
    }

    private func message(_ data: String, type: String = "message", id: String = "") -> EventStreamParser.Item {
        .event(type: type, data: data, id: id)
    }

    @Test func readsFields() {
        #expect(parse("data: a\n\n") == [message("a")])
        #expect(parse("data:a\n\n") == [message("a")])
        #expect(parse("data:  a\n\n") == [message(" a")])
        #expect(parse("data\n\n") == [message("")])
        #expect(parse("data: a\ndata\ndata: b\n\n") == [message("a\n\nb")])
        #expect(parse("event: t\nid: 7\ndata: a:b\n\n") == [message("a:b", type: "t", id: "7")])
        #expect(parse("other: x\ndata: a\n\n") == [message("a")])
        #expect(parse(": comment\n:\n") == [.comment, .comment])
        #expect(parse("retry: 1500\n") == [.retry(milliseconds: 1500)])
        #expect(parse("retry: 1.5\nretry: -1\nretry:\nretry: 99999999999999999999\n").isEmpty)
    }

    @Test func anIncompleteEventIsNotDelivered() {
        #expect(parse("data: a\n").isEmpty)
        #expect(parse("data: a").isEmpty)
    }

    @Test func anIDWithoutDataSetsTheCursorAndIsNotAnEvent() {
        #expect(parse("id: 3\n\n") == [.id("3")])
        #expect(parse("event: t\nid: 3\n\ndata: a\n\n") == [.id("3"), message("a", id: "3")])
        #expect(parse("id: 3\ndata: a\n\ndata: b\n\n") == [message("a", id: "3"), message("b", id: "3")])
        #expect(parse("id: 3\ndata: a\n\nid\ndata: b\n\n") == [message("a", id: "3"), message("b", id: "")])
        #expect(parse("id: a\0b\ndata: x\n\n") == [message("x")])
        #expect(parse("\n\n\n").isEmpty)
    }

    @Test func everyKindOfLineEndIsAccepted() {
        for end in ["\n", "\r\n", "\r"] {
            let text = ["id: 1", "data: a", "", ": c", "data: b", "", ""].joined(separator: end)
            #expect(parse(text) == [message("a", id: "1"), .comment, message("b", id: "1")], "\(end.debugDescription)")
        }
        #expect(parse("data: a\r\rdata: b\n\r\n") == [message("a"), message("b")])
    }

    @Test func aByteOrderMarkCountsOnlyAtTheStart() {
        #expect(parse("\u{FEFF}data: a\n\n") == [message("a")])
        #expect(parse("\n\u{FEFF}data: a\n\n").isEmpty)
        #expect(parse("\u{FEFF}: c\n") == [.comment])
    }

    @Test func textMayBeAnyUTF8() {
        #expect(parse("data: grüße 🎈\u{2028}x\n\n") == [message("grüße 🎈\u{2028}x")])
    }

    @Test func theBytesMayBeSplitAnywhere() {
        var generator = SystemRandomNumberGenerator()
        let pieces = [
            "data: a", "data", "id: 5", "id", "event: gap", ": x", "retry: 12", "", "", "\u{FEFF}data: é", "data:  🎈 ", "junk", "id: ü",
        ]
        for _ in 0..<300 {
            let text = (0..<Int.random(in: 1...30)).map { _ in pieces.randomElement()! + ["\n", "\r\n", "\r"].randomElement()! }.joined()
            let whole = parse(text)
            var parser = EventStreamParser()
            var items: [EventStreamParser.Item] = []
            var rest = Array(text.utf8)[...]
            while !rest.isEmpty {
                let size = Int.random(in: 1...rest.count, using: &generator)
                items += parser.feed(rest.prefix(size))
                rest = rest.dropFirst(size)
            }
            #expect(items == whole, "\(text.debugDescription)")
        }
    }
}
