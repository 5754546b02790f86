import Logging
import NIOCore
import NIOPosix
import Partitioning
import Sockets
import TestKit
import Testing

@testable import Link

/// Links over real sockets on loopback.
@Suite struct LinksTests {
    @Test func messagesArriveInOrderInBothDirections() async throws {
        let (a, b) = (TestNode("a", secret: "s3cret"), TestNode("b", secret: "s3cret"))
        try await a.start(5)
        try await b.start(6)
        a.links.setViewVersion(7)
        a.links.setPeers([b.peer(6)])
        b.links.setPeers([a.peer(5)])
        try await a.waitUp("b", incarnation: 6)
        try await b.waitUp("a", incarnation: 5)
        try await a.waitUp("b", .incoming, incarnation: 6)
        for number in 0..<2000 {
            #expect(a.links.send(Array("a\(number)".utf8), to: "b"))
            #expect(b.links.send(Array("b\(number)".utf8), to: "a"))
        }
        try await eventually("all arrive") { a.payloads.count == 2000 && b.payloads.count == 2000 }
        #expect(a.payloads == (0..<2000).map { Array("b\($0)".utf8) })
        #expect(b.payloads == (0..<2000).map { Array("a\($0)".utf8) })
        // The version is reported with the first frame, before the payload of that frame.
        let fromA = b.all.filter { if case .received = $0 { true } else if case .viewVersion = $0 { true } else { false } }
        #expect(fromA.contains(.viewVersion(from: ProcessID(id: "a", incarnation: 5), 7)))
        #expect(fromA.contains { if case .received(ProcessID(id: "a", incarnation: 5), 7, _) = $0 { true } else { false } })
        a.links.setViewVersion(8)
        try await b.wait("view 8") { $0 == .viewVersion(from: ProcessID(id: "a", incarnation: 5), 8) }
        try await eventually("round trips are measured") { a.links.states.allSatisfy { ($0.roundTripMicroseconds ?? 0) > 0 } }
        let states = a.links.states
        #expect(states.map(\.direction) == [.outgoing, .incoming])
        #expect(states.allSatisfy { $0.isUp && $0.peer == ProcessID(id: "b", incarnation: 6) && $0.protocolVersion == 1 })
        #expect(states[0].address == b.address && states[0].queuedBytes == 0 && states[0].droppedMessages == 0)
        await a.close()
        // A node that closes its links announces the end.
        try await b.wait("a announces its end") { $0 == .down(ProcessID(id: "a", incarnation: 5), .incoming, .closed) }
        try await b.wait("a's port is closed") { if case .down(ProcessID(id: "a", incarnation: 5), .outgoing, .refused) = $0 { true } else { false } }
        await b.close()
        expectAlternates(a.all)
        expectAlternates(b.all)
        #expect(!(a.logs.lines + b.logs.lines).contains { $0.contains("s3cret") })
    }

    @Test func messagesAboveTheLimitAreNotSent() async throws {
        let (a, b) = (TestNode("a"), TestNode("b"))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        #expect(!a.links.send([UInt8](repeating: 1, count: 16 * 1024 * 1024 + 1), to: "b"))
        #expect(a.links.send([UInt8](repeating: 2, count: 16 * 1024 * 1024), to: "b"))
        #expect(a.links.send([3], to: "b"))
        try await eventually("both arrive") { b.payloads.count == 2 }
        #expect(b.payloads.map(\.count) == [16 * 1024 * 1024, 1])
        #expect(a.links.dropped == 1)
        await a.close()
        await b.close()
    }

    /// A peer with another version or other limits sends a longer frame than this node accepts.
    @Test func aFrameThatIsTooLongIsRefused() async throws {
        var small = LinkLimits.test
        small.frameBytesMax = 1000
        let (a, b) = (TestNode("a"), TestNode("b", limits: small))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        #expect(a.links.send([UInt8](repeating: 1, count: 1001), to: "b"))
        try await a.wait("b refuses") {
            if case .down(ProcessID(id: "b", incarnation: 1), .outgoing, .rejected(let reason)) = $0 { reason.contains("too long") } else { false }
        }
        try await eventually("b logs it") { b.logs.lines.contains { $0.contains("too long") } }
        #expect(b.payloads.isEmpty)
        await a.close()
        await b.close()
    }

    @Test func differentSecretsAreRefused() async throws {
        for (own, other, sentence) in [("one", "two", "different link secrets"), ("one", nil, "link secret and"), (nil, "two", "link secret and")] {
            let (a, b) = (TestNode("a", secret: own), TestNode("b", secret: other))
            try await self.refused(a, b, sentence)
        }
    }

    @Test func anotherClusterIsRefused() async throws { try await self.refused(TestNode("a", cluster: "x"), TestNode("b", cluster: "y"), "belongs to cluster") }

    @Test func theHighestCommonProtocolIsUsed() async throws {
        try await self.refused(TestNode("a", protocols: 1...2), TestNode("b", protocols: 3...4), "supports link protocols")
        let (a, b) = (TestNode("a", protocols: 1...3), TestNode("b", protocols: 2...9))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        #expect(a.links.states[0].protocolVersion == 3)
        await a.close()
        await b.close()
    }

    @Test func aPeerWithTheSameIDIsRefused() async throws { try await self.refused(TestNode("a"), TestNode("a"), "both nodes have the id") }

    @Test func anotherIncarnationIsRefused() async throws { try await self.refused(TestNode("a"), TestNode("b"), "and reached b incarnation 1", dialled: 2) }

    /// a dials b repeatedly. Both log the reason once.
    private func refused(_ a: TestNode, _ b: TestNode, _ sentence: String, dialled: Int64 = 1) async throws {
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer(dialled)])
        try await eventually("\(sentence): a is refused three times") { a.rejections.count >= 3 }
        #expect(a.rejections.allSatisfy { $0.contains(sentence) }, "\(a.rejections)")
        try await eventually("b logs \(sentence)") { b.logs.lines.contains { $0.contains(sentence) } }
        #expect(a.logs.lines.filter { $0.contains(sentence) }.count == 1, "\(a.logs.lines)")
        #expect(b.logs.lines.filter { $0.contains(sentence) }.count == 1, "\(b.logs.lines)")
        #expect(!(a.all + b.all).contains { if case .up = $0 { true } else { false } })
        #expect(!a.links.send([1], to: "b"))
        await a.close()
        await b.close()
    }

    @Test func aClosedPortIsReportedAsRefused() async throws {
        let a = TestNode("a")
        try await a.start()
        let closed = LoopbackSocket.refusing()
        a.links.setPeers([LinkPeer(ProcessID(id: "b", incarnation: 1), address: "127.0.0.1:\(closed.port)")])
        try await eventually("three attempts are reported") { a.all.filter { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .refused) }.count >= 3 }
        #expect(a.logs.lines.count { $0.contains("connection refused") } == 1, "\(a.logs.lines)")
        #expect(a.links.states[0].loss == .refused && !a.links.states[0].isUp)
        a.links.setPeers([
            LinkPeer(ProcessID(id: "c", incarnation: 1), address: "nowhere"), LinkPeer(ProcessID(id: "d", incarnation: 1), address: "192.0.2.1:99"),
        ])
        try await a.wait("the address of c is invalid") {
            if case .down(ProcessID(id: "c", incarnation: 1), .outgoing, .unreachable) = $0 { true } else { false }
        }
        // Without authentication, only addresses on loopback are dialled.
        try await a.wait("the address of d is not on loopback") {
            if case .down(ProcessID(id: "d", incarnation: 1), .outgoing, .rejected(let reason)) = $0 { reason.contains("link-secret-file") } else { false }
        }
        await a.close()
        withExtendedLifetime(closed) {}
    }

    @Test func withoutAuthenticationOnlyLoopbackIsAllowed() async throws {
        for host in ["0.0.0.0", "::", "192.0.2.1"] {
            let links = Links(
                LinkConfiguration(ListenAddress(host: host, port: 0)), cluster: "c", id: "a", version: "1", group: TestNode.group, logger: Logger(label: "a"))
            await #expect(performing: { try await links.start() }, throws: { "\($0)".contains("link-secret-file") })
        }
    }

    @Test func aRestartedPeerGetsANewLink() async throws {
        let (a, b) = (TestNode("a"), TestNode("b"))
        try await a.start()
        try await b.start()
        let port = b.port
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        await b.close()
        try await a.wait("b is dead") { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .refused) }
        let again = TestNode("b", port: port)
        try await again.start(2)
        // The old incarnation never returns. Links to the new incarnation need a view that lists it.
        try await a.wait("the new incarnation is refused") {
            if case .down(ProcessID(id: "b", incarnation: 1), .outgoing, .rejected) = $0 { true } else { false }
        }
        a.links.setPeers([again.peer(2)])
        try await a.waitUp("b", incarnation: 2)
        #expect(a.links.send([1], to: "b"))
        try await eventually("the message arrives") { again.payloads == [[1]] }
        await a.close()
        await again.close()
        expectAlternates(a.all)
    }

    @Test func aNewIdentityOpensNewLinks() async throws {
        let (a, b) = (TestNode("a"), TestNode("b"))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        b.links.setPeers([a.peer()])
        try await a.waitUp("b")
        try await b.waitUp("a")
        a.links.setIdentity(incarnation: 2)
        try await b.wait("a's new link") { $0 == .up(ProcessID(id: "a", incarnation: 2), .incoming) }
        try await b.wait("b's link to a's former incarnation is refused") {
            if case .down(ProcessID(id: "a", incarnation: 1), .outgoing, .rejected) = $0 { true } else { false }
        }
        b.links.setPeers([a.peer(2)])
        try await b.waitUp("a", incarnation: 2)
        #expect(a.all.filter { $0 == .up(ProcessID(id: "b", incarnation: 1), .outgoing) }.count == 2)
        await a.close()
        await b.close()
        expectAlternates(a.all)
        expectAlternates(b.all)
    }

    /// A node without an identity neither dials nor accepts peers.
    @Test func aNodeWithoutAnIdentityHasNoLinks() async throws {
        let (a, b) = (TestNode("a"), TestNode("b"))
        try await a.start()
        try await b.start(nil)
        a.links.setPeers([b.peer()])
        b.links.setPeers([a.peer()])
        try await a.wait("b is not a member yet") {
            if case .down(ProcessID(id: "b", incarnation: 1), .outgoing, .rejected(let reason)) = $0 { reason.contains("not a member yet") } else { false }
        }
        #expect(b.all.isEmpty)
        b.links.setIdentity(incarnation: 1)
        try await a.waitUp("b")
        try await b.waitUp("a")
        a.links.setPeers([])
        try await a.wait("the outgoing link ends") { $0 == .down(ProcessID(id: "b", incarnation: 1), .outgoing, .closed) }
        try await b.wait("the incoming link ends") { $0 == .down(ProcessID(id: "a", incarnation: 1), .incoming, .closed) }
        #expect(a.links.states.map(\.direction) == [.incoming])
        await a.close()
        await b.close()
    }

    /// One node has links to 60 peers, and 12 of these peers have links to each other.
    @Test func aNodeHasLinksToSixtyPeers() async throws {
        let hub = TestNode("hub", secret: "s")
        let nodes = (0..<60).map { TestNode("n\($0)", secret: "s") }
        for node in nodes + [hub] { try await node.start() }
        let start = ContinuousClock.now
        let first = nodes.prefix(12).map { $0.peer() }
        for (number, node) in nodes.enumerated() { node.links.setPeers([hub.peer()] + (number < 12 ? first.filter { $0.id != node.id } : [])) }
        hub.links.setPeers(nodes.map { $0.peer() })
        try await eventually("120 links of the hub") { hub.links.states.count { $0.isUp } == 120 }
        try await eventually("both links of the other nodes") { nodes.dropFirst(12).allSatisfy { $0.links.states.count { $0.isUp } == 2 } }
        try await eventually("12 × 11 links, both ends") { nodes.prefix(12).allSatisfy { $0.links.states.count { $0.isUp } == 24 } }
        print("61 nodes, all links up after \(ContinuousClock.now - start)")
        for node in nodes {
            #expect(hub.links.send(Array(node.id.utf8), to: node.id))
            #expect(node.links.send(Array(node.id.utf8), to: "hub"))
        }
        try await eventually("every message arrives") { hub.payloads.count == 60 && nodes.allSatisfy { $0.payloads.count == 1 } }
        await withTaskGroup(of: Void.self) { group in for node in nodes + [hub] { group.addTask { await node.close() } } }
        for node in nodes + [hub] { expectAlternates(node.all) }
    }
}

/// Expects that up and down alternate for each peer and direction, and that messages arrive only while a link is up.
func expectAlternates(_ events: [LinkEvent], sourceLocation: SourceLocation = #_sourceLocation) {
    struct Link: Hashable {
        var id: String
        var direction: LinkDirection
    }

    var up: [Link: ProcessID] = [:]
    for event in events {
        switch event {
        case .up(let peer, let direction):
            let link = Link(id: peer.id, direction: direction)
            #expect(up[link] == nil, "up twice: \(event)", sourceLocation: sourceLocation)
            up[link] = peer
        case .down(let peer, let direction, _):
            let link = Link(id: peer.id, direction: direction)
            if direction == .incoming { #expect(up[link] == peer, "down but not up: \(event)", sourceLocation: sourceLocation) }
            up[link] = nil
        case .received(let peer, _, _), .viewVersion(let peer, _):
            #expect(up.values.contains(peer), "from a peer that is not up: \(event)", sourceLocation: sourceLocation)
        }
    }
}
