import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Partitioning
import TestKit
import Testing

@testable import Link

/// Data connections over real sockets on loopback.
@Suite struct LinkDataTests {
    /// Records all calls. Checks that each one comes on the connection's loop.
    private final class Receiver: LinkDataReceiver {
        struct Seen {
            var open: [LinkDataConnection] = []
            var sessions: [UInt64] = []
            var frames: [UInt64: [ByteBuffer]] = [:]
            var reads = 0
            var drained = 0
            var closed: [UInt64: LinkLoss] = [:]
        }

        let seen = NIOLockedValueBox(Seen())

        var now: Seen { self.seen.withLockedValue { $0 } }

        func opened(_ connection: LinkDataConnection) {
            connection.loop.preconditionInEventLoop()
            self.seen.withLockedValue {
                $0.open.append(connection)
                $0.sessions.append(connection.session)
            }
        }

        func received(_ frame: ByteBuffer, on connection: LinkDataConnection) {
            connection.loop.preconditionInEventLoop()
            self.seen.withLockedValue {
                #expect($0.open.contains { $0.session == connection.session })
                $0.frames[connection.session, default: []].append(frame)
            }
        }

        func readCompleted(_ connection: LinkDataConnection) { self.seen.withLockedValue { $0.reads += 1 } }

        func drained(_ connection: LinkDataConnection) {
            connection.loop.preconditionInEventLoop()
            self.seen.withLockedValue { $0.drained += 1 }
        }

        func closed(_ connection: LinkDataConnection, _ loss: LinkLoss) {
            connection.loop.preconditionInEventLoop()
            self.seen.withLockedValue { seen in
                #expect(seen.closed[connection.session] == nil)
                seen.closed[connection.session] = loss
                seen.open.removeAll { $0.session == connection.session }
            }
        }

        func connection(_ direction: LinkDirection) -> LinkDataConnection? { self.now.open.first { $0.direction == direction } }

        func frames(_ connection: LinkDataConnection?) -> [ByteBuffer] { connection.flatMap { self.now.frames[$0.session] } ?? [] }
    }

    private struct Pair {
        let ra = Receiver()
        let rb = Receiver()
        let a: TestNode
        let b: TestNode

        init(limits: LinkLimits = .test, secret: String? = "s") {
            self.a = TestNode("a", secret: secret, limits: limits, receiver: self.ra)
            self.b = TestNode("b", secret: secret, limits: limits, receiver: self.rb)
        }

        /// Only a dials.
        func connect() async throws {
            try await self.a.start()
            try await self.b.start()
            self.a.links.setPeers([self.b.peer()])
            try await eventually("a data connection") { self.ra.connection(.outgoing) != nil && self.rb.connection(.incoming) != nil }
        }

        func close() async {
            await self.a.close()
            await self.b.close()
        }
    }

    @Test func framesArriveInOrderInBothDirectionsOfOneConnection() async throws {
        let pair = Pair()
        try await pair.connect()
        let (a, b) = (pair.ra.connection(.outgoing)!, pair.rb.connection(.incoming)!)
        #expect(a.peer == ProcessID(id: "b", incarnation: 1) && b.peer == ProcessID(id: "a", incarnation: 1))
        for number in 0..<3000 {
            #expect(a.send(ByteBuffer(string: "a\(number)")))
            #expect(b.send(ByteBuffer(string: "b\(number)")))
        }
        let large = ByteBuffer(repeating: 0x78, count: 5 << 20)
        #expect(a.send(large) && a.send(ByteBuffer()))
        try await eventually("all arrive") { pair.rb.frames(b).count == 3002 && pair.ra.frames(a).count == 3000 }
        #expect(pair.rb.frames(b) == (0..<3000).map { ByteBuffer(string: "a\($0)") } + [large, ByteBuffer()])
        #expect(pair.ra.frames(a) == (0..<3000).map { ByteBuffer(string: "b\($0)") })
        #expect(pair.rb.now.reads > 0)
        try await eventually("nothing waits") { a.queuedBytes == 0 && b.queuedBytes == 0 }
        // The coordinator's connection is another one, and has no data.
        try await pair.a.waitUp("b")
        #expect(pair.a.links.send([1], to: "b"))
        try await eventually("the message arrives") { pair.b.payloads == [[1]] }
        #expect(pair.rb.frames(b).count == 3002)
        await pair.close()
        #expect(pair.ra.now.closed.count == 1 && pair.rb.now.closed.count == 1)
    }

    @Test func aBrokenConnectionIsDialledAgainUnderAnotherSession() async throws {
        let pair = Pair()
        try await pair.connect()
        let first = pair.ra.connection(.outgoing)!
        first.close()
        try await eventually("a new session on both sides") { pair.ra.now.sessions.count == 2 && pair.rb.now.sessions.count == 2 }
        #expect(pair.ra.now.closed[first.session] != nil)
        try await eventually("the old one is closed") { pair.rb.now.closed.count == 1 }
        #expect(first.session != pair.ra.connection(.outgoing)?.session)
        // The control connection was not affected.
        #expect(pair.a.all.allSatisfy { if case .down = $0 { false } else { true } })
        await pair.close()
    }

    @Test func aSlowPeerRefusesFramesUntilItHasTakenHalf() async throws {
        var limits = LinkLimits.test
        limits.frameBytesMax = 1 << 20
        limits.bufferedBytesMax = 4 << 20
        let pair = Pair(limits: limits)
        try await pair.connect()
        let connection = pair.ra.connection(.outgoing)!
        #expect(!connection.send(ByteBuffer(repeating: 0, count: limits.frameBytesMax + 1)))
        let frame = ByteBuffer(repeating: 0, count: 1 << 20)
        // The peer's loop is one of two, and the kernel takes a few megabytes.
        let sent = try await connection.loop.submit { (0..<200).count { _ in connection.send(frame) } }.get()
        #expect((3..<200).contains(sent))
        #expect(connection.queuedBytes <= limits.bufferedBytesMax)
        try await eventually("it is drained") { pair.ra.now.drained == 1 }
        #expect(connection.send(frame))
        try await eventually("all arrive") { pair.rb.frames(pair.rb.connection(.incoming)).count == sent + 1 }
        #expect(pair.ra.now.drained == 1)
        await pair.close()
    }

    @Test func aNodeWithoutDataConnectionsRefusesThem() async throws {
        let receiver = Receiver()
        let (a, b) = (TestNode("a", receiver: receiver), TestNode("b"))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        try await a.waitUp("b")
        try await eventually("the refusal is logged") { a.logs.lines.contains { $0.contains("accepts no connections for data") } }
        #expect(receiver.now.sessions.isEmpty)
        #expect(a.rejections.isEmpty)
        await a.close()
        await b.close()
    }

    @Test func dataOnAnotherConnectionIsRefused() {
        let identity = LinkIdentity(cluster: "c", process: ProcessID(id: "b", incarnation: 2), protocols: 1...1, version: "1")
        var machine = LinkMachine(.incoming, identity: identity, to: nil, nonce: LinkHello.makeNonce(), secret: nil, limits: LinkLimits(), now: 0)
        machine.state = .up
        let refusal = machine.receivedData(viewVersion: 1)
        #expect(refusal == [.close(.rejected("a data frame is not allowed in this state"), farewell: "a data frame is not allowed in this state")])
        var data = machine
        data.state = .up
        data.use = .data
        #expect(data.receivedData(viewVersion: 1).isEmpty)
        #expect(data.received(LinkFrame(kind: .message, viewVersion: 1, payload: [1]), now: 1).count == 1)
        #expect(data.state == .closed)
    }
}

extension LinkDataConnection {
    fileprivate func send(_ payload: ByteBuffer) -> Bool { self.send { $0.writeImmutableBuffer(payload) } }
}
