import NIOCore
import Partitioning
import TestKit
import Testing

@testable import Link

/// Peers and unauthenticated connections that misbehave.
@Suite struct LinksFaultTests {
    @Test func aSilentPeerLosesItsLink() async throws {
        let fake = try await FakePeer.listen("b", .silent)
        var limits = LinkLimits.test
        limits.silenceMilliseconds = 1500
        let a = TestNode("a", limits: limits)
        try await a.start()
        let start = ContinuousClock.now
        a.links.setPeers([LinkPeer(ProcessID(id: "b", incarnation: 1), address: "127.0.0.1:\(fake.localAddress!.port!)")])
        try await a.waitUp("b")
        try await a.wait("silence") { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .silent) }
        #expect(ContinuousClock.now - start > .milliseconds(1400))
        await a.close()
        try await fake.close()
    }

    @Test func aPeerThatReadsNothingLosesItsLink() async throws {
        var limits = LinkLimits.test
        limits.bufferedBytesMax = 4 << 20
        limits.frameBytesMax = 1 << 20
        let fake = try await FakePeer.listen("b", .readsNothing)
        let a = TestNode("a", limits: limits)
        try await a.start()
        a.links.setPeers([LinkPeer(ProcessID(id: "b", incarnation: 1), address: "127.0.0.1:\(fake.localAddress!.port!)")])
        try await a.waitUp("b")
        // The kernel accepts some bytes. Then at most `bufferedBytesMax` bytes are queued.
        var sent = 0
        try await eventually("the buffer is full") {
            while a.links.send([UInt8](repeating: 1, count: (1 << 20) - 100), to: "b") { sent += 1 }
            try await Task.sleep(for: .milliseconds(20))
            return a.links.states[0].queuedBytes > 3 << 20 && !a.links.send([UInt8](repeating: 1, count: (1 << 20) - 100), to: "b")
        }
        #expect((4..<40).contains(sent), "\(sent)")
        let state = a.links.states[0]
        #expect(state.queuedBytes <= 4 << 20)
        #expect(state.droppedMessages > 0 && a.links.dropped == state.droppedMessages)
        try await a.wait("the link is down") { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .stalled) }
        await a.close()
        try await fake.close()
    }

    /// A slow reader makes its peers wait, and loses no accepted message.
    @Test func aSlowReaderLosesNoAcceptedMessage() async throws {
        var limits = LinkLimits.test
        limits.bufferedBytesMax = 2 << 20
        limits.frameBytesMax = 64 << 10
        limits.unreadBytesMax = 1 << 20
        limits.stallMilliseconds = 20_000
        limits.silenceMilliseconds = 5000
        let (a, b) = (TestNode("a", limits: limits), TestNode("b", limits: limits))
        try await a.start()
        try await b.start(reads: false)
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        var sent: [UInt8] = []
        for number in 0..<400 {
            var payload = [UInt8](repeating: 1, count: 64 << 10)
            payload[0] = UInt8(truncatingIfNeeded: number)
            if a.links.send(payload, to: "b") { sent.append(payload[0]) }
            if number % 20 == 0 { try await Task.sleep(for: .milliseconds(2)) }
        }
        #expect(sent.count < 400)
        // The pause is longer than the allowed silence. The link stays up, because this node itself does not read.
        try await Task.sleep(for: .milliseconds(6000))
        #expect(b.links.inbox.waitingBytes < 3 << 20, "\(b.links.inbox.waitingBytes)")
        #expect(a.links.states[0].isUp)
        b.read()
        try await eventually("all arrives") { b.payloads.count == sent.count }
        #expect(b.payloads.map { $0[0] } == sent)
        #expect(b.links.inbox.waitingBytes == 0)
        await a.close()
        await b.close()
    }

    @Test func unauthenticatedConnectionsAreBounded() async throws {
        var limits = LinkLimits.test
        limits.unauthenticatedMax = 4
        limits.handshakeMilliseconds = 500
        let (a, b) = (TestNode("a", secret: "s"), TestNode("b", secret: "s", limits: limits))
        try await a.start()
        try await b.start()
        // Of ten silent connections, four wait for their timeout. The others are closed immediately.
        let answers = try await withThrowingTaskGroup(of: (Duration, ByteBuffer).self) { group in
            for _ in 0..<10 {
                group.addTask {
                    let start = ContinuousClock.now
                    let bytes = try await Keeper.send([], to: b)
                    return (ContinuousClock.now - start, bytes)
                }
            }
            return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(answers.count { $0.1.readableBytes > 0 } == 4)
        #expect(answers.allSatisfy { $0.1.readableBytes == 0 || $0.0 > .milliseconds(400) })
        // A peer that sends garbage gets the reason of the refusal.
        let answer = try await Keeper.send(Array("GET / HTTP/1.1\r\n\r\n".utf8), to: b)
        #expect(String(buffer: answer).contains("too long"))
        // Then a peer can connect.
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        #expect(
            b.all.allSatisfy { if case .up(ProcessID(id: "a", incarnation: 1), .incoming) = $0 { true } else if case .viewVersion = $0 { true } else { false } }
        )
        await a.close()
        await b.close()
    }

    /// If two processes have one id, only the newer process keeps its link.
    @Test func theNewerOfTwoProcessesKeepsItsLink() async throws {
        let (old, new, b) = (TestNode("a"), TestNode("a"), TestNode("b"))
        try await old.start(1)
        try await new.start(2)
        try await b.start()
        old.links.setPeers([b.peer()])
        try await old.waitUp("b")
        new.links.setPeers([b.peer()])
        try await b.wait("the newer process has a link") { $0 == .up(ProcessID(id: "a", incarnation: 2), .incoming) }
        try await old.wait("the link of the older process ends") { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .closed) }
        try await old.wait("the older process gets the reason") {
            if case .down(ProcessID(id: "b", incarnation: 1), .outgoing, .rejected(let reason)) = $0 { reason.contains("a newer process of a") } else { false }
        }
        #expect(b.links.states.map(\.peer.incarnation) == [2])
        for node in [old, new, b] { await node.close() }
        expectAlternates(b.all)
    }
}
