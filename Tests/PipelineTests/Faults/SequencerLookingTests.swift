import NIOCore
import PipelineTestKit
import Testing

@testable import Pipeline

/// Pages of channels, as the API shows them.
@Suite(.timeLimit(.minutes(1))) struct SequencerLookingTests {
    /// Returns the names of one page of channels.
    private func page(_ stage: Stage, prefix: String = "", after: String? = nil, limit: Int) async throws -> [String] {
        let page = Task { try await stage.sequencers.channels(prefix: prefix, after: after, limit: limit).map(\.channel.string) }
        return try await page.value
    }

    @Test func channelsWithSubscribersOnlyAreShownToo() async throws {
        let stage = try await Stage()
        try await stage.publish("b")
        let changes = ["a", "b"].map { InterestChange(channel: channel($0), subscribers: 2, wanted: .open) }
        try await stage.run { stage.sequencer.interest(changes, edge: .loop(1)) }
        let page = Task { try await stage.sequencers.channels(prefix: "", after: nil, limit: 10).map { "\($0.channel) \($0.head) \($0.subscribers)" } }
        #expect(try await page.value == ["a 1-0 2", "b 1-1 2"])
    }

    @Test func pagesAreInTheOrderOfNames() async throws {
        let stage = try await Stage(isStarted: false)
        let names = (0..<5000).map { "\($0 % 3 == 0 ? "a" : "b")\($0)" }
        try await stage.run {
            for name in names { stage.log.known[channel(name)] = ChannelHead(head: position(1, 1)) }
        }
        try await stage.start()
        let sorted = names.sorted()
        #expect(try await self.page(stage, limit: 10_000) == sorted)
        #expect(try await self.page(stage, limit: 7) == Array(sorted.prefix(7)))
        #expect(try await self.page(stage, prefix: "b", limit: 100) == Array(sorted.filter { $0.hasPrefix("b") }.prefix(100)))
        var found: [String] = []
        while true {
            let next = try await self.page(stage, prefix: "a", after: found.last, limit: 300)
            if next.isEmpty { break }
            found += next
        }
        #expect(found == sorted.filter { $0.hasPrefix("a") })
    }
}
