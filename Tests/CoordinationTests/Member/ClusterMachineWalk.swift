import AdminAPI
import Partitioning
import TestKit

@testable import Coordination

/// One machine on a random walk through what its world may do to it, and what must hold all the way.
///
/// The world keeps its own rules: ZooKeeper's answers are true or lost, other controllers raise the epoch, and owner epochs grow with every grant.
struct ClusterMachineWalk {
    var stand: ClusterMachineStand
    private var random: SplitMix
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
        self.stand = ClusterMachineStand(partitionCount: 6)
        self.stand.random = SplitMix(seed: ~seed)
        self.stand.isStoragePrompt = seed.isMultiple(of: 2)
    }

    mutating func step() {
        self.stand.forget()
        self.move()
        self.check()
    }

    /// Peace: everything is answered, and what was asked is, too.
    mutating func finish() {
        guard self.problem == nil else { return }
        self.stand.forget()
        self.stand.isStoragePrompt = true
        if self.connection == .gone { self.stand.connect(session: self.stand.session + 1) } else { self.stand.reconnect() }
        self.stand.advance(.seconds(20))
        self.check()
        if !self.pending.isEmpty { self.fail("requests \(self.pending.sorted()) were never answered") }
    }

    mutating func fail(_ text: String) { if self.problem == nil { self.problem = text + "\n" + self.trace.suffix(30).joined(separator: "\n") } }

    private mutating func note(_ text: String) {
        self.trace = self.trace.suffix(100) + [text]
    }

    // MARK: - What happens

    private mutating func move() {
        let choice = self.random.below(100)
        self.note("\(choice)")
        switch choice {
        case 0..<45: self.answer()
        case 45..<60:
            self.stand.wait(.milliseconds(self.random.chance(10) ? self.random.below(12_000) : self.random.below(400)))
            self.stand.handle(.ticked)
        case 60..<66: self.changeSession()
        case 66..<72: self.stand.handle(.changed(self.stand.store.takeFired()))
        case 72..<78: self.changeMembers()
        case 78..<84: self.changeLinks()
        case 84..<88: self.rule()
        case 88..<92: self.listen()
        case 92..<95: self.ask()
        case 95..<98: self.stand.settle()
        default: self.confirm()
        }
    }

    private mutating func answer() {
        guard !self.stand.open.isEmpty, self.connection == .up else { return }
        switch self.random.below(30) {
        case 0: self.stand.answerIsLost()
        case 1: self.stand.answer(.failure(.ambiguous(code: -7)))
        default: self.stand.answer()
        }
    }

    /// What was under way is lost with the connection, before the machine hears of it or after.
    private mutating func changeSession() {
        switch self.connection {
        case .gone:
            self.stand.connect(session: self.stand.session + 1)
            self.connection = .up
        case .up:
            guard self.random.chance(40) else { return }
            let isLate = self.random.chance(50)
            if isLate { self.stand.suspend() }
            for _ in 0..<self.stand.open.count {
                if self.random.chance(50) { self.stand.answerIsLost() } else { self.stand.answer(.failure(.ambiguous(code: -4))) }
            }
            if !isLate { self.stand.suspend() }
            self.connection = .suspended
        case .suspended:
            while !self.stand.open.isEmpty { self.stand.answer(.failure(.notSent(code: -4))) }
            if self.random.chance(60) {
                self.stand.reconnect()
                self.connection = .up
            } else {
                // Given up, the session may live on for a while with the node's ephemeral nodes.
                self.stand.lose(self.random.chance(50) ? .expired : .givenUp)
                self.connection = .gone
            }
        }
    }

    private mutating func changeMembers() {
        guard self.stand.store.tree["/rt/c/members"] != nil else { return }
        let id = "n\(2 + self.random.below(3))"
        if self.stand.incarnation(id) > 0 {
            self.stand.store.end(ClusterMachineStand.session(of: id))
        } else {
            self.stand.addMember(id, session: ClusterMachineStand.session(of: id))
        }
        if self.random.chance(5) { self.stand.store.remove("/rt/c/members/n1") }
    }

    private mutating func changeLinks() {
        for id in ["n2", "n3", "n4"] where self.random.chance(50) {
            let incarnation = self.stand.incarnation(id)
            guard incarnation > 0 else { continue }
            if self.random.chance(70) {
                self.stand.handle(.linkUp(id: id, incarnation: incarnation))
            } else {
                self.stand.handle(.linkDown(id: id, incarnation: incarnation, isRefused: self.random.chance(50)))
            }
        }
    }

    /// Another node is elected, writes a view, or goes.
    private mutating func rule() {
        guard self.stand.incarnation("n2") > 0, let text = self.stand.store.tree["/rt/c/controller_epoch"].map({ String(decoding: $0.data, as: UTF8.self) }),
            let epoch = Int32(text)
        else { return }
        if self.stand.store.tree["/rt/c/controller"]?.stat.ephemeralOwner != 200 {
            self.stand.store.remove("/rt/c/controller")
            self.stand.store.put("/rt/c/controller_epoch", Array(String(epoch + 1).utf8))
            self.stand.addController("n2", epoch: epoch + 1, session: 200)
        } else if self.random.chance(30) {
            self.stand.store.remove("/rt/c/controller")
        } else if var view = self.stand.storedView {
            self.evolve(&view, epoch)
            self.stand.write(view)
            // A push may overtake the watch.
            if self.random.chance(40) { self.stand.receive(.view(view)) }
        }
    }

    private mutating func evolve(_ view: inout ClusterView, _ epoch: Int32) {
        view.version += 1
        view.controllerEpoch = epoch
        for id in ["n1", "n2", "n3", "n4"] {
            let incarnation = self.stand.incarnation(id)
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

    /// What peers say: reports, complaints, pulls, and views that are late.
    private mutating func listen() {
        let id = "n\(2 + self.random.below(3))"
        guard self.stand.incarnation(id) > 0 else { return }
        switch self.random.below(5) {
        case 0, 1: self.stand.receive(.report(self.stand.report(of: id)), from: id)
        case 2: self.stand.receive(.complaint(epoch: self.stand.machine.controller?.epoch ?? 0), from: id)
        case 3: if let view = self.lastView { self.stand.receive(.view(view), from: id) }
        default: self.stand.receive(self.random.chance(50) ? .heard : .pull, from: id)
        }
    }

    private mutating func ask() {
        let kind = AdminRequest.Kind.allCases.randomElement(using: &self.random)!
        self.pending.insert(self.nextRequest)
        self.stand.handle(.request(number: self.nextRequest, AdminRequest(kind, node: "n\(1 + self.random.below(5))", partition: self.random.below(7))))
        self.nextRequest += 1
    }

    /// The storage says what it has done, perhaps long ago and for another owner epoch.
    private mutating func confirm() {
        let owned = self.stand.machine.ownership.map { Grant(partition: $0.key, ownerEpoch: $0.value.ownerEpoch - Int64(self.random.below(2))) }
        self.stand.handle(self.random.chance(70) ? .sealed(owned) : .handedOver(owned))
    }
}
