import Testing

@testable import Pipeline

@Suite struct MessageIDsTests {
    @Test func idsAreDifferentAndNeedNoAllocation() {
        var ids = MessageIDs(random: .max)
        var others = MessageIDs(random: 5)
        var seen: Set<String> = []
        for _ in 0..<10_000 {
            seen.insert(ids.next())
            seen.insert(others.next())
        }
        #expect(seen.count == 20_000)
        #expect(seen.allSatisfy { $0.utf8.count == 15 && $0.first == "~" })
        #expect(MessageIDs(random: 5).isLike(MessageIDs(random: 5 + 1 << 42)), "only the low 42 bits count")
    }
}

extension MessageIDs {
    fileprivate func isLike(_ other: MessageIDs) -> Bool {
        var (first, second) = (self, other)
        return first.next() == second.next()
    }
}
