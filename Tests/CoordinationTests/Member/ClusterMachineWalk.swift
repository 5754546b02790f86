import AdminAPI
import Partitioning
import TestKit

@testable import Coordination

/// One machine on a random walk of events, with checks after every step.
///
/// Each event can happen in a real cluster. ZooKeeper's replies are true or lost, other controllers raise the controller epoch, and each grant raises the owner
/// epoch.
struct ClusterMachineWalk {
    var bench: ClusterMachineBench
    private var random: SplitMix
    let isLogFencing: Bool
    private(set) var problem: String?
    var hasJoined = false
    enum Connection { case gone, up, suspended }
    var connection = Connection.gone
    var before: [Int: Ownership] = [:]
    var finished: Set<Grant> = []
    var lastView: ClusterView?
    /// Requests without a response.
    var pending: Set<UInt64> = []
    private var nextRequest: UInt64 = 1
    private var trace: [String] = []

    init(seed: UInt64) {
        self.random = SplitMix(seed: seed)
        self.isLogFencing = seed.isMultiple(of: 3)
        self.bench = ClusterMachineBench(partitionCount: 6) { [isLogFencing] in if isLogFencing { $0.useFencingLog() } }
        self.bench.random = SplitMix(seed: ~seed)
        self.bench.isStoragePrompt = seed.isMultiple(of: 2)
    }

    mutating func step() {
        self.bench.forget()
        self.move()
        self.check()
    }

    /// Ends the faults: every operation gets its reply, and every request its response.
    mutating func finish() {
        guard self.problem == nil else { return }
        self.bench.forget()
        self.bench.isStoragePrompt = true
        if self.connection == .gone { self.bench.connect(session: self.bench.session + 1) } else { self.bench.reconnect() }
        self.bench.advance(.seconds(20))
        self.check()
        if !self.pending.isEmpty { self.fail("requests \(self.pending.sorted()) never got a response") }
    }

    mutating func fail(_ text: String) { if self.problem == nil { self.problem = text + "\n" + self.trace.suffix(30).joined(separator: "\n") } }

    private mutating func note(_ text: String) {
        self.trace = self.trace.suffix(100) + [text]
    }

    // MARK: - Events

    private mutating func move() {
        let choice = self.random.below(100)
        self.note("\(choice)")
        switch choice {
        case 0..<45: self.reply()
        case 45..<60:
            self.bench.wait(.milliseconds(self.random.chance(10) ? self.random.below(12_000) : self.random.below(400)))
            self.bench.handle(.ticked)
        case 60..<66: self.changeSession()
        case 66..<72: self.bench.handle(.changed(self.bench.store.takeFired()))
        case 72..<78: self.changeMembers()
        case 78..<84: self.changeLinks()
        case 84..<88: self.rule()
        case 88..<92: self.listen()
        case 92..<95: self.request()
        case 95..<98: self.bench.settle()
        default: self.confirm()
        }
    }

    private mutating func reply() {
        guard !self.bench.open.isEmpty, self.connection == .up else { return }
        switch self.random.below(30) {
        case 0: self.bench.loseReply()
        case 1: self.bench.reply(.failure(.ambiguous(code: -7)))
        default: self.bench.reply()
        }
    }

    /// Operations in flight are lost with the connection, before or after the machine is notified of the loss.
    private mutating func changeSession() {
        switch self.connection {
        case .gone:
            self.bench.connect(session: self.bench.session + 1)
            self.connection = .up
        case .up:
            guard self.random.chance(40) else { return }
            let isLate = self.random.chance(50)
            if isLate { self.bench.suspend() }
            for _ in 0..<self.bench.open.count {
                if self.random.chance(50) { self.bench.loseReply() } else { self.bench.reply(.failure(.ambiguous(code: -4))) }
            }
            if !isLate { self.bench.suspend() }
            self.connection = .suspended
        case .suspended:
            while !self.bench.open.isEmpty { self.bench.reply(.failure(.notSent(code: -4))) }
            if self.random.chance(60) {
                self.bench.reconnect()
                self.connection = .up
            } else {
                // After a client gives a session up, the servers may keep it for a while, with its ephemeral znodes.
                self.bench.lose(self.random.chance(50) ? .expired : .givenUp)
                self.connection = .gone
            }
        }
    }

    private mutating func changeMembers() {
        guard self.bench.store.tree["/rt/c/members"] != nil else { return }
        let id = "n\(2 + self.random.below(3))"
        if self.bench.incarnation(id) > 0 {
            self.bench.store.end(ClusterMachineBench.session(of: id))
        } else {
            self.bench.addMember(id, session: ClusterMachineBench.session(of: id))
        }
        if self.random.chance(5) { self.bench.store.remove("/rt/c/members/n1") }
    }

    private mutating func changeLinks() {
        for id in ["n2", "n3", "n4"] where self.random.chance(50) {
            let incarnation = self.bench.incarnation(id)
            guard incarnation > 0 else { continue }
            if self.random.chance(70) {
                self.bench.handle(.linkUp(ProcessID(id: id, incarnation: incarnation)))
            } else {
                self.bench.handle(.linkDown(ProcessID(id: id, incarnation: incarnation), isRefused: self.random.chance(50)))
            }
        }
    }

    /// Another node is elected, writes a view, or disappears.
    private mutating func rule() {
        guard self.bench.incarnation("n2") > 0, let text = self.bench.store.tree["/rt/c/controller_epoch"].map({ String(decoding: $0.data, as: UTF8.self) }),
            let epoch = Int32(text)
        else { return }
        if self.bench.store.tree["/rt/c/controller"]?.stat.ephemeralOwner != 200 {
            self.bench.store.remove("/rt/c/controller")
            self.bench.store.put("/rt/c/controller_epoch", Array(String(epoch + 1).utf8))
            self.bench.addController("n2", epoch: epoch + 1, session: 200)
        } else if self.random.chance(30) {
            self.bench.store.remove("/rt/c/controller")
        } else if var view = self.bench.storedView {
            self.evolve(&view, epoch)
            self.bench.write(view)
            // A pushed view may arrive before the watch fires.
            if self.random.chance(40) { self.bench.receive(.view(view)) }
        }
    }

    private mutating func evolve(_ view: inout ClusterView, _ epoch: Int32) {
        view.version += 1
        view.controllerEpoch = epoch
        for id in ["n1", "n2", "n3", "n4"] {
            let incarnation = self.bench.incarnation(id)
            var node = view.node(id) ?? .init(id: id, state: .down)
            if node.incarnation != incarnation { view.orphan(ownedBy: id) }
            node.incarnation = incarnation > 0 ? incarnation : nil
            node.state = incarnation > 0 ? .active : .down
            node.link = "\(id):1"
            view.upsert(node)
        }
        let active = view.nodes.filter { $0.state == .active }.map(\.id)
        for partition in view.partitions.indices where self.random.chance(40) {
            let id = self.random.chance(50) && active.contains("n1") ? "n1" : active.randomElement(using: &self.random)!
            if let owner = view.partitions[partition].owner, owner != id, self.random.chance(60) {
                view.partitions[partition].move = .init(id: view.version << 16 | Int64(partition), to: id, reason: .balance)
            } else {
                view.grant(partition, to: id)
            }
        }
    }

    /// A peer sends a report, a complaint, a pull or a late view.
    private mutating func listen() {
        let id = "n\(2 + self.random.below(3))"
        guard self.bench.incarnation(id) > 0 else { return }
        switch self.random.below(5) {
        case 0, 1: self.bench.receive(.report(self.bench.report(of: id)), from: id)
        case 2: self.bench.receive(.complaint(epoch: self.bench.machine.controller?.epoch ?? 0), from: id)
        case 3: if let view = self.lastView { self.bench.receive(.view(view), from: id) }
        default: self.bench.receive(self.random.chance(50) ? .acknowledged : .pull, from: id)
        }
    }

    private mutating func request() {
        let kind = AdminRequest.Kind.allCases.randomElement(using: &self.random)!
        self.pending.insert(self.nextRequest)
        self.bench.handle(.request(number: self.nextRequest, AdminRequest(kind, node: "n\(1 + self.random.below(5))", partition: self.random.below(7))))
        self.nextRequest += 1
    }

    /// The storage reports a result, perhaps late and for an earlier owner epoch.
    private mutating func confirm() {
        let owned = self.bench.machine.ownership.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch - Int64(self.random.below(2))) }
        switch self.random.below(20) {
        case 0..<13: self.bench.handle(.sealed(owned))
        case 13..<17: self.bench.handle(.handedOver(owned))
        case 17, 18: self.bench.handle(.handoffFailed(owned))
        default: self.bench.handle(.fenced(owned))
        }
    }
}
