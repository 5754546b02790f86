import DequeModule
import Partitioning
import Pipeline
import TestKit
import Testing

@testable import Relay

/// Handoffs over connections that fill up, close and stay silent: each ends exactly once, and only complete content counts as carried.
@Suite struct HandoffMachineTests {
    @Test(arguments: UInt64(0)..<300)
    func everyHandoffEndsOnce(_ seed: UInt64) {
        var walk = HandoffWalk(seed: seed)
        for _ in 0..<400 { walk.step() }
        walk.settle()
        #expect(walk.problems == [], "seed \(seed)")
    }

    /// The walks together reach every end.
    @Test func theWalksReachEveryEnd() {
        var ends: [String: Int] = [:]
        for seed in UInt64(0)..<100 {
            var walk = HandoffWalk(seed: seed)
            for _ in 0..<400 { walk.step() }
            walk.settle()
            ends.merge(walk.ends) { $0 + $1 }
        }
        for end in ["carried", "refused", "late", "stalled", "closed", "no content"] { #expect(ends[end, default: 0] > 3, "\(end): \(ends)") }
    }

    @Test func onePartitionAfterTheOtherIsStopped() {
        var machine = HandoffMachine()
        let (first, second) = (Grant(partition: 1, ownerEpoch: 1), Grant(partition: 2, ownerEpoch: 1))
        #expect(machine.begin(first, over: 1, now: 0) == [.stop(first)])
        #expect(machine.begin(second, over: 1, now: 0) == [])
        #expect(machine.begin(Grant(partition: 3, ownerEpoch: 1), over: 2, now: 0).count == 1, "another connection")
        #expect(machine.stopped(first, now: 0) == [.send(first, session: 1)])
        #expect(machine.staged(first, over: 2, .complete, now: 0) == [], "from another node")
        #expect(machine.staged(first, over: 1, .complete, now: 0) == [.end(first, .carried), .stop(second)])
        #expect(machine.staged(first, over: 1, .complete, now: 0) == [])
        #expect(machine.state(of: second) == .stopping)
    }

    @Test func fewChunksAreUnconfirmed() {
        var machine = HandoffMachine()
        let grant = Grant(partition: 1, ownerEpoch: 1)
        _ = machine.begin(grant, over: 1, now: 0)
        var effects = machine.stopped(grant, now: 0)
        var sent = 0
        while effects == [.send(grant, session: 1)] {
            sent += 1
            effects = machine.sent(grant)
        }
        #expect(sent == HandoffMachine.unconfirmedMax && effects == [])
        #expect(machine.staged(grant, over: 1, .incomplete, now: 0) == [.send(grant, session: 1)])
        machine.refusedByLink(grant)
        #expect(machine.staged(grant, over: 1, .incomplete, now: 0) == [], "the link is full")
        #expect(machine.drained(2) == [])
        #expect(machine.drained(1) == [.send(grant, session: 1)])
    }
}

/// One owner, and some targets over connections that are replaced when they close.
private struct HandoffWalk {
    private struct Connection {
        var toTarget: Deque<(Grant, chunk: Int)> = []
        var toOwner: Deque<(Grant, LogStaging)> = []
        var isFull = false
        var isSilent = false
        /// The number of chunks that arrived, by grant.
        var arrived: [Grant: Int] = [:]
    }

    private var random: SplitMix
    private var machine = HandoffMachine()
    private var now: Int64 = 0
    private var connections: [UInt64: Connection] = [:]
    private var nextSession: UInt64 = 1
    private var nextPartition = 0
    private var effects: Deque<HandoffMachine.Effect> = []
    /// Partitions that are being stopped.
    private var stopping: [Grant] = []
    /// By grant: the number of chunks, those that were sent, and the session.
    private var open: [Grant: (chunks: Int, sent: Int, session: UInt64)] = [:]
    private var complete: Set<Grant> = []
    private(set) var ends: [String: Int] = [:]
    private(set) var problems: [String] = []

    init(seed: UInt64) {
        self.random = SplitMix(seed: seed)
        for _ in 0..<2 { self.connect() }
    }

    private mutating func connect() {
        self.connections[self.nextSession] = Connection()
        self.nextSession += 1
    }

    private var sessions: [UInt64] { self.connections.keys.sorted() }

    mutating func step() {
        let session = self.sessions[self.random.below(self.sessions.count)]
        switch self.random.below(100) {
        case 0..<12: self.begin(session)
        case 12..<25: if !self.stopping.isEmpty { self.stop(self.random.below(self.stopping.count)) }
        case 25..<60: self.arrive(session)
        case 60..<88: self.reply(session)
        case 88..<91: self.connections[session]!.isFull = true
        case 91..<95: self.drain(session)
        case 95: self.close(session)
        case 96: self.connections[session]!.isSilent = true
        case 97: self.connections[session]!.isSilent = false
        case 98: self.pass(Int64(self.random.below(1500)))
        default: self.pass(Int64(self.random.below(100)))
        }
        self.check()
    }

    /// Everything goes on, until nothing is left.
    mutating func settle() {
        for session in self.sessions {
            self.connections[session]!.isSilent = false
            self.drain(session)
        }
        for _ in 0..<20_000 where !self.machine.isEmpty {
            while !self.stopping.isEmpty { self.stop(0) }
            for session in self.sessions {
                self.arrive(session)
                self.reply(session)
            }
            self.pass(1)
        }
        if !self.machine.isEmpty || !self.open.isEmpty { self.problems.append("\(self.open.count) handoffs have not ended") }
    }

    private mutating func begin(_ session: UInt64) {
        let grant = Grant(partition: self.nextPartition, ownerEpoch: 1)
        self.nextPartition += 1
        self.open[grant] = (self.random.below(self.random.chance(20) ? 200 : 12) + 1, 0, session)
        self.perform(self.machine.begin(grant, over: session, now: self.now))
    }

    private mutating func stop(_ index: Int) {
        let grant = self.stopping.remove(at: index)
        self.perform(self.random.chance(5) ? self.machine.hasNoContent(grant, now: self.now) : self.machine.stopped(grant, now: self.now))
    }

    private mutating func arrive(_ session: UInt64) {
        guard self.connections[session]!.isSilent == false, let (grant, chunk) = self.connections[session]!.toTarget.popFirst() else { return }
        let arrived = self.connections[session]!.arrived[grant, default: 0]
        if chunk != arrived { self.problems.append("chunk \(chunk) of \(grant) instead of \(arrived)") }
        self.connections[session]!.arrived[grant] = arrived + 1
        let isLast = self.open[grant].map { chunk + 1 == $0.chunks } ?? false
        if isLast { self.complete.insert(grant) }
        let staging: LogStaging = isLast ? .complete : self.random.chance(1) ? .refused("no space") : .incomplete
        self.connections[session]!.toOwner.append((grant, staging))
    }

    private mutating func reply(_ session: UInt64) {
        guard let (grant, staging) = self.connections[session]!.toOwner.popFirst() else { return }
        self.perform(self.machine.staged(grant, over: session, staging, now: self.now))
    }

    private mutating func drain(_ session: UInt64) {
        self.connections[session]!.isFull = false
        self.perform(self.machine.drained(session))
    }

    private mutating func close(_ session: UInt64) {
        self.connections[session] = nil
        self.perform(self.machine.closed(session))
        self.connect()
    }

    private mutating func pass(_ milliseconds: Int64) {
        self.now += milliseconds
        self.perform(self.machine.expire(now: self.now))
    }

    private mutating func perform(_ effects: [HandoffMachine.Effect]) {
        for effect in effects {
            switch effect {
            case .stop(let grant): self.stopping.append(grant)
            case .send(let grant, let session): self.send(grant, session)
            case .end(let grant, let result): self.end(grant, result)
            }
        }
    }

    private mutating func send(_ grant: Grant, _ session: UInt64) {
        guard let open = self.open[grant], open.session == session, self.connections[session] != nil else {
            return self.problems.append("\(grant) is sent, but has ended")
        }
        if open.sent == open.chunks { return self.machine.sentAll(grant) }
        if self.connections[session]!.isFull { return self.machine.refusedByLink(grant) }
        self.connections[session]!.toTarget.append((grant, open.sent))
        self.open[grant]!.sent += 1
        self.perform(self.machine.sent(grant))
    }

    private mutating func end(_ grant: Grant, _ result: HandoffMachine.Result) {
        guard self.open.removeValue(forKey: grant) != nil else { return self.problems.append("\(grant) has ended twice") }
        switch result {
        case .carried:
            self.ends["carried", default: 0] += 1
            if !self.complete.contains(grant) { self.problems.append("\(grant) counts as carried, and is not complete") }
        case .withoutContent(let reason):
            self.ends[reason == "no space" ? "refused" : reason.contains("within") ? "late" : "no content", default: 0] += 1
        case .unreachable(let reason): self.ends[reason.contains("closed") ? "closed" : "stalled", default: 0] += 1
        }
    }

    private mutating func check() {
        for session in self.sessions {
            let active = self.open.filter { $0.value.session == session && self.machine.state(of: $0.key) != .queued }
            if active.count > 1 { self.problems.append("\(active.count) partitions are carried over one connection") }
            if active.isEmpty, self.open.contains(where: { $0.value.session == session }) { self.problems.append("a partition waits for no other one") }
        }
        for (grant, open) in self.open {
            let unconfirmed = open.sent - (self.connections[open.session]?.arrived[grant] ?? 0)
            if unconfirmed > HandoffMachine.unconfirmedMax { self.problems.append("\(unconfirmed) chunks of \(grant) are unconfirmed") }
        }
    }
}
