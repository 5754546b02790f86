import Partitioning
import TestKit
import Testing

@testable import Link

/// Two machines and the frames in flight between them.
private struct Pair {
    var machines: [LinkMachine]
    /// The frames in flight to each machine.
    var way: [[LinkFrame]] = [[], []]
    var now = 0
    var ups = [0, 0]
    var closes = [0, 0]
    var received: [[[UInt8]]] = [[], []]

    init(secrets: (String?, String?) = ("s", "s"), incarnation: Int64 = 2, cluster: String = "c") {
        let a = LinkIdentity(cluster: "c", process: ProcessID(id: "a", incarnation: 1), protocols: 1...2, version: "1")
        let b = LinkIdentity(cluster: cluster, process: ProcessID(id: "b", incarnation: 2), protocols: 2...3, version: "1")
        self.machines = [
            LinkMachine(
                .outgoing, identity: a, to: ProcessID(id: "b", incarnation: incarnation), nonce: LinkHello.makeNonce(),
                secret: secrets.0.map { LinkSecret($0) }, limits: LinkLimits(), now: 0),
            LinkMachine(
                .incoming, identity: b, to: nil, nonce: LinkHello.makeNonce(), secret: secrets.1.map { LinkSecret($0) }, limits: LinkLimits(), now: 0),
        ]
        self.execute(self.machines[0].opened(), of: 0)
    }

    /// Whether the documentation of the states allows the transition.
    static func isAllowed(_ from: LinkMachine.State, _ to: LinkMachine.State) -> Bool {
        if from == to { return true }
        return switch (from, to) {
        case (.helloSent, .proofSent), (.awaitingHello, .awaitingProof), (.proofSent, .up), (.awaitingProof, .up): true
        case (.helloSent, .closed), (.awaitingHello, .closed), (.proofSent, .closed), (.awaitingProof, .closed), (.up, .closed): true
        default: false
        }
    }

    mutating func change(_ side: Int, _ body: (inout LinkMachine) -> [LinkMachine.Action]) {
        let before = self.machines[side].state
        let actions = body(&self.machines[side])
        #expect(Self.isAllowed(before, self.machines[side].state), "\(before) to \(self.machines[side].state)")
        if before == .closed { #expect(actions.isEmpty) }
        self.execute(actions, of: side)
    }

    mutating func execute(_ actions: [LinkMachine.Action], of side: Int) {
        for action in actions {
            switch action {
            case .send(let kind, let payload): self.way[1 - side].append(LinkFrame(kind: kind, viewVersion: 5, payload: payload))
            case .up(let identity, _, let version):
                self.ups[side] += 1
                #expect(identity.id == (side == 0 ? "b" : "a") && version == 2)
            case .received(let version, let payload):
                #expect(self.ups[side] == 1 && self.closes[side] == 0 && version == 5)
                self.received[side].append(payload)
            case .peerView: #expect(self.ups[side] == 1)
            case .roundTrip(let time): #expect((0...self.now).contains(time))
            case .close(_, let farewell):
                self.closes[side] += 1
                if let farewell { self.way[1 - side].append(LinkFrame(kind: .bye, viewVersion: 5, payload: Array(farewell.utf8))) }
            }
        }
        #expect(self.ups[side] <= 1 && self.closes[side] <= 1)
    }

    mutating func deliver(_ side: Int) {
        guard !self.way[side].isEmpty else { return }
        let (frame, now) = (self.way[side].removeFirst(), self.now)
        self.change(side) {
            $0.didReceiveBytes(now: now)
            return $0.received(frame, now: now)
        }
    }

    mutating func deliverAll() { while !self.way.allSatisfy(\.isEmpty) { for side in 0..<2 { self.deliver(side) } } }
}

@Suite struct LinkMachineTests {
    @Test func peersWithTheSameSecretGetALink() {
        var pair = Pair()
        pair.deliverAll()
        #expect(pair.machines.map(\.state) == [.up, .up])
        for side in 0..<2 {
            pair.way[side] = (0..<10).map { LinkFrame(kind: .message, viewVersion: 5, payload: [UInt8($0)]) }
            pair.deliverAll()
            #expect(pair.received[side] == (0..<10).map { [UInt8($0)] })
        }
    }

    @Test func mismatchedPeersGetNoLink() {
        for var pair in [
            Pair(secrets: ("s", "t")), Pair(secrets: ("s", nil)), Pair(secrets: (nil, "s")), Pair(incarnation: 3), Pair(cluster: "d"),
        ] {
            pair.deliverAll()
            #expect(pair.machines.map(\.state) == [.closed, .closed])
            #expect(pair.ups == [0, 0] && pair.closes == [1, 1])
        }
    }

    @Test func aSilentPeerLosesItsLink() {
        var pair = Pair()
        pair.deliverAll()
        // While both machines send heartbeats, both stay up.
        for _ in 0..<100 {
            pair.now += 250_000
            for side in 0..<2 { pair.change(side) { [now = pair.now] in $0.ticked(now: now) } }
            pair.deliverAll()
        }
        #expect(pair.machines.map(\.state) == [.up, .up])
        // No more frames are delivered.
        var ticks = 0
        while pair.machines[0].state == .up, ticks < 100 {
            ticks += 1
            pair.now += 250_000
            pair.change(0) { [now = pair.now] in $0.ticked(now: now) }
            // A connection that this node does not read does not count as silent.
            pair.change(1) { [now = pair.now] in $0.ticked(now: now, isReading: false) }
            pair.way = [[], []]
        }
        #expect((7...9).contains(ticks))
        #expect(pair.machines[1].state == .up)
    }

    /// A process that was paused has received no bytes, but its peers may be alive.
    @Test func aLateTickDoesNotEndTheLink() {
        var pair = Pair()
        pair.deliverAll()
        pair.change(0) { $0.ticked(now: 60_000_000) }
        #expect(pair.machines[0].state == .up)
    }

    @Test func aPeerThatReadsNothingLosesItsLink() {
        var pair = Pair()
        pair.deliverAll()
        var taken = 0
        for tick in 1...200 {
            pair.now += 250_000
            // For the first 100 ticks the peer reads slowly.
            if tick <= 100 { taken += tick % 20 == 0 ? 1 : 0 }
            pair.change(0) { [now = pair.now, taken] in
                $0.didReceiveBytes(now: now)
                return $0.ticked(now: now, taken: taken, waiting: 1000)
            }
            if tick <= 139 { #expect(pair.machines[0].state == .up, "tick \(tick)") }
        }
        #expect(pair.machines[0].state == .closed)
    }

    /// Random frames, lost frames, forged frames, advancing time, and ends from both sides.
    @Test(arguments: 0..<500) func everyTransitionIsAllowed(seed: UInt64) {
        var generator = SplitMix(seed: seed)
        let isHonest = generator.below(3) > 0
        let secrets: (String?, String?) = generator.below(4) == 0 ? ("s", "t") : generator.below(4) == 0 ? (nil, nil) : ("s", "s")
        var pair = Pair(secrets: secrets)
        for _ in 0..<120 {
            let side = generator.below(2)
            pair.now += generator.below(200_000)
            switch generator.below(isHonest ? 40 : 60) {
            case 0: pair.change(side) { $0.dismissed("") }
            case 1: pair.change(side) { $0.disconnected() }
            case 2..<10: pair.change(side) { [now = pair.now] in $0.ticked(now: now, taken: 0, waiting: 0) }
            case 10..<14:
                if pair.machines[side].state == .up { pair.way[1 - side].append(LinkFrame(kind: .message, viewVersion: 5, payload: [1])) }
            case 40...:
                let payload = generator.below(2) == 0 ? generator.bytes(upTo: 40) : pair.machines[1 - side].ownHello
                pair.way[side].insert(LinkFrame(kind: .allCases.randomElement(using: &generator)!, viewVersion: 5, payload: payload), at: 0)
            default: pair.deliver(side)
            }
            if secrets == ("s", "t") { #expect(pair.ups == [0, 0]) }
        }
    }
}
