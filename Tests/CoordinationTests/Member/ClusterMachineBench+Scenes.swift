import AdminAPI
import Partitioning

@testable import Coordination

/// Situations for a machine, and accessors for its effects.
extension ClusterMachineBench {
    // MARK: - Effects

    var requests: [ZooKeeperRequest] { self.effects.compactMap { if case .perform(_, let request, _, _) = $0 { request } else { nil } } }
    var refusals: [String] { self.effects.compactMap { if case .refuse(let reason) = $0 { reason } else { nil } } }
    var events: [ClusterEvent.Kind] { self.effects.compactMap { if case .log(let event) = $0 { event.kind } else { nil } } }
    var seals: [Grant] { self.effects.flatMap { action -> [Grant] in if case .seal(let owned) = action { owned } else { [] } } }
    var handOvers: [Grant] { self.effects.flatMap { action -> [Grant] in if case .handOver(let handoffs) = action { handoffs.map(\.grant) } else { [] } } }
    var releases: [Grant] { self.effects.flatMap { action -> [Grant] in if case .release(let owned) = action { owned } else { [] } } }
    var hasLeft: Bool { self.effects.contains { if case .left = $0 { true } else { false } } }
    var peers: [ClusterMachine.Peer]? { self.effects.compactMap { if case .peers(let peers, _, _) = $0 { peers } else { nil } }.last }

    func response(to number: UInt64) -> AdminResponse? {
        self.effects.compactMap { if case .respond(number, let answer) = $0 { answer } else { nil } }.first
    }

    func sent(to id: String) -> [ClusterMessage] {
        self.effects.compactMap { if case .send(id, let payload) = $0 { try? ClusterMessage(payload) } else { nil } }
    }

    func reports(to id: String) -> [NodeReport] { self.sent(to: id).compactMap { if case .report(let report) = $0 { report } else { nil } } }

    /// The views that this machine has tried to write.
    var viewWrites: [[ZooKeeperRequest.Part]] {
        self.requests.compactMap { request in
            guard case .multi(let parts) = request, parts.count == 2 else { return nil }
            switch parts[1] {
            case .set("/rt/c/view", _, _), .create("/rt/c/view", _, _): return parts
            default: return nil
            }
        }
    }

    var storedView: ClusterView? { self.store.tree["/rt/c/view"].flatMap { try? ClusterView(json: $0.data) } }
    func state(_ id: String) -> NodeState? { self.machine.view?.node(id)?.state }
    func count(_ id: String) -> Int { self.machine.view?.partitions(ownedBy: id).count ?? 0 }
    func incarnation(_ id: String) -> Int64 { self.store.tree["/rt/c/members/\(id)"]?.stat.czxid ?? -1 }
    func process(_ id: String) -> ProcessID { ProcessID(id: id, incarnation: self.incarnation(id)) }
    var states: [Ownership.State?] { (0..<(self.machine.view?.partitions.count ?? 0)).map { self.machine.ownership[$0]?.state } }

    // MARK: - A node in the cluster of another controller

    /// Creates the parent znodes and the configuration, as if another node had joined the cluster before.
    mutating func found(_ configuration: ClusterConfiguration = ClusterConfiguration(clusterID: "c-1", partitionCount: 4), epoch: Int32 = 1) {
        for path in ["/rt", "/rt/c", "/rt/c/nodes", "/rt/c/members"] { self.store.put(path, []) }
        self.store.put("/rt/c/controller_epoch", Array(String(epoch).utf8))
        self.store.put("/rt/c/config", configuration.json)
    }

    static func record(_ id: String, link: String? = nil) -> MemberRecord {
        MemberRecord(link: link ?? "\(id):1", api: "\(id):2", version: "1", protocols: 1...1, nonce: "other", startedAt: 0)
    }

    mutating func addMember(_ id: String, session: Int64, link: String? = nil) {
        self.store.put("/rt/c/members/\(id)", Self.record(id, link: link).json, session: session)
    }

    var epochVersion: Int32 { self.store.tree["/rt/c/controller_epoch"]?.stat.version ?? -1 }

    mutating func addController(_ id: String, epoch: Int32 = 1, session: Int64) {
        let json = ControllerRecord.json(
            self.process(id), epoch: epoch, epochVersion: self.epochVersion, link: "\(id):1", api: "\(id):2")
        self.store.put("/rt/c/controller", json, session: session)
    }

    /// `n1` has joined. `n2` is the controller, with a link to `n1`. In the view `n1` owns no partition.
    static func follower(change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineBench {
        var bench = ClusterMachineBench(change: change)
        bench.found()
        bench.addMember("n2", session: 200)
        bench.addController("n2", session: 200)
        bench.connect()
        bench.settle()
        bench.publish(bench.view(1, ["n2", "n2", "n2", "n2"]))
        bench.handle(.linkUp(bench.process("n2")))
        bench.settle()
        bench.forget()
        return bench
    }

    /// A view in which the owners, `n1` and `n2` are active.
    func view(_ version: Int64, _ owners: [String?], ownerEpochs: [Int64]? = nil, change: (inout ClusterView) -> Void = { _ in }) -> ClusterView {
        let ids = Set(owners.compactMap { $0 } + ["n1", "n2"]).sorted()
        var view = ClusterView(
            version: version, controllerEpoch: 1, writer: "n2/1/\(version)",
            nodes: ids.map { .init(id: $0, incarnation: self.incarnation($0), link: "\($0):1", api: "\($0):2", version: "1", state: .active) },
            partitions: owners.enumerated().map { .init(owner: $1, ownerEpoch: ownerEpochs?[$0] ?? 1) })
        change(&view)
        return view
    }

    mutating func write(_ view: ClusterView) {
        guard let data = try? view.json() else { fatalError("the test created an invalid view") }
        self.store.put("/rt/c/view", data)
    }

    /// The controller writes the view, and the watch fires.
    mutating func publish(_ view: ClusterView) {
        self.write(view)
        self.settle()
    }

    mutating func receive(_ message: ClusterMessage, from id: String = "n2") {
        guard let payload = try? message.payload() else { fatalError("the test created a message that cannot be encoded") }
        self.handle(.received(from: self.process(id), payload: payload))
    }

    // MARK: - The controller

    /// `n1` is the controller and owns all partitions.
    static func controller(partitionCount: Int = 4, change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineBench {
        var bench = ClusterMachineBench(partitionCount: partitionCount, change: change)
        bench.connect()
        bench.advance(.seconds(2))
        bench.forget()
        return bench
    }

    /// `n1` is the controller of a balanced cluster of `count` nodes.
    static func controller(of count: Int, partitionCount: Int = 8, change: (inout ClusterSettings) -> Void = { _ in }) -> ClusterMachineBench {
        var bench = Self.controller(partitionCount: partitionCount, change: change)
        for index in 2...count { bench.arrive("n\(index)") }
        bench.balance()
        bench.forget()
        return bench
    }

    static func session(of id: String) -> Int64 { 100 * Int64(id.dropFirst())! }

    /// Another process becomes a member, and the link to it is up.
    mutating func arrive(_ id: String, isLinked: Bool = true) {
        self.addMember(id, session: Self.session(of: id))
        self.settle()
        if isLinked { self.handle(.linkUp(self.process(id))) }
        self.report()
    }

    /// The sessions of these nodes end.
    mutating func vanish(_ ids: String...) {
        for id in ids { self.store.end(Self.session(of: id)) }
        self.settle()
    }

    var otherMembers: [String] {
        self.store.tree.keys.filter { $0.hasPrefix("/rt/c/members/") && $0 != "/rt/c/members/n1" }.map { String($0.dropFirst(14)) }.sorted()
    }

    /// The report of a member that follows the view. The member serves its partitions, has sealed its moving partitions, and reaches all other members.
    func report(of id: String) -> NodeReport {
        var report = NodeReport(incarnation: self.incarnation(id), viewVersion: self.machine.view?.version ?? 0)
        for (index, entry) in (self.machine.view?.partitions ?? []).enumerated() where entry.owner == id {
            let owned = Grant(partition: index, ownerEpoch: entry.ownerEpoch)
            if entry.move == nil { report.serving.append(owned) } else { report.sealed.append(owned) }
        }
        report.reached = (self.otherMembers + ["n1"]).filter { $0 != id }.map { .init(id: $0, incarnation: self.incarnation($0)) }
        return report
    }

    /// All other members send a report, except the given members.
    mutating func report(except silent: Set<String> = []) {
        for id in self.otherMembers where !silent.contains(id) { self.receive(.report(self.report(of: id)), from: id) }
        self.settle()
    }

    /// All members follow the views until no partition moves any more.
    mutating func balance() {
        for _ in 0..<60 {
            self.advance(.milliseconds(500))
            self.report()
        }
    }

    mutating func request(_ request: AdminRequest, number: UInt64 = 1) -> AdminResponse? {
        self.handle(.request(number: number, request))
        self.settle()
        return self.response(to: number)
    }
}
