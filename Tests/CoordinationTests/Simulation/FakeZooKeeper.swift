@testable import Coordination

/// Simulates ZooKeeper: a tree, sessions, watches that fire once, and reads that may be stale but never go back within a session.
final class FakeZooKeeper {
    struct Znode {
        var data: [UInt8]
        var czxid: Int64
        var mzxid: Int64
        var version: Int32
        var owner: Int64

        var stat: ZooKeeperStat { ZooKeeperStat(czxid: self.czxid, mzxid: self.mzxid, version: self.version, ephemeralOwner: self.owner) }
    }

    struct Session {
        var node: SimulatedNode?
        /// The newest transaction that the session has seen. Reads of the session show nothing older.
        var zxid: Int64 = 0
        /// The time of the last contact. The session expires one timeout later.
        var touchedAt: ContinuousClock.Instant
        var isConnected = true
    }

    static let timeout = Duration.seconds(6)

    unowned var simulation: Simulation!
    /// One test sets this to false. Then writes of the view are applied without a check of the controller epoch and the version.
    var isFenced = true
    /// Whether the current write is by a test, and not by a node.
    private var isOverwriting = false
    private var tree: [String: Znode] = ["/": Znode(data: [], czxid: 0, mzxid: 0, version: 0, owner: 0)]
    private var past: [(zxid: Int64, tree: [String: Znode])] = []
    private var zxid: Int64 = 0
    private(set) var sessions: [Int64: Session] = [:]
    private var nextSession: Int64 = 1000
    private var dataWatches: [String: Set<Int64>] = [:]
    private var childWatches: [String: Set<Int64>] = [:]
    var isAway = false
    private var backup: (zxid: Int64, tree: [String: Znode]) = (0, [:])

    var view: ClusterView? { self.tree["/rt/sim/view"].flatMap { try? ClusterView(json: $0.data) } }

    // MARK: - Sessions

    func open(for node: SimulatedNode) -> Int64 {
        self.nextSession += 1
        self.sessions[self.nextSession] = Session(node: node, zxid: self.zxid, touchedAt: self.simulation.now)
        return self.nextSession
    }

    func touch(_ session: Int64, ago: Duration = .zero) { self.sessions[session]?.touchedAt = self.simulation.now.advanced(by: .zero - ago) }
    func disconnected(_ session: Int64) { self.sessions[session]?.isConnected = false }

    /// Whether the session still lives.
    func reconnected(_ session: Int64) -> Bool {
        guard self.sessions[session] != nil else { return false }
        self.sessions[session]!.isConnected = true
        self.touch(session)
        return true
    }

    /// Called regularly: ends the sessions without contact. Servers that are away end no session, and give each session a full timeout when they return.
    func expireSilent() {
        guard !self.isAway else {
            for id in self.sessions.keys { self.touch(id) }
            return
        }
        for (id, session) in self.sessions.sorted(by: { $0.key < $1.key }) where self.simulation.now >= session.touchedAt.advanced(by: Self.timeout) {
            self.simulation.checker.expires(session.node, id)
            self.end(id)
        }
    }

    func end(_ session: Int64) {
        guard self.sessions.removeValue(forKey: session) != nil else { return }
        self.simulation.note("session \(session) ends")
        for path in self.tree.filter({ $0.value.owner == session }).keys.sorted() { self.commit { $0[path] = nil } }
    }

    // MARK: - Lost writes

    /// Copies the tree without ephemeral znodes, because their sessions will have ended when the copy is restored.
    func backUp() { self.backup = (self.zxid, self.tree.filter { $0.value.owner == 0 }) }

    /// An operator restores the copy. All later writes are lost, and transaction numbers are used again.
    func putBack() {
        self.simulation.note("the copy is restored: view \(self.view?.version ?? 0) is lost")
        self.sessions = [:]
        self.past = []
        self.dataWatches = [:]
        self.childWatches = [:]
        (self.zxid, self.tree) = self.backup
        self.simulation.note("ZooKeeper has view \(self.view?.version ?? 0)")
    }

    /// Replaces the servers with new ones, whose disks are empty.
    func empty() {
        self.backup = (0, ["/": Znode(data: [], czxid: 0, mzxid: 0, version: 0, owner: 0)])
        self.putBack()
    }

    // MARK: - Damage

    func data(_ path: String) -> [UInt8]? { self.tree[path]?.data }
    func stat(_ path: String) -> ZooKeeperStat? { self.tree[path]?.stat }

    /// An operator or another program writes data to a znode. Nil deletes the znode and its children.
    func overwrite(_ path: String, _ data: [UInt8]?) {
        self.simulation.note("\(path) is \(data.map { String(decoding: $0.prefix(80), as: UTF8.self) } ?? "deleted")")
        self.isOverwriting = true
        defer { self.isOverwriting = false }
        if let data {
            self.commit { tree in
                tree[path]?.data = data
                tree[path]?.version += 1
                tree[path]?.mzxid = self.zxid + 1
            }
        } else {
            for path in self.tree.keys.filter({ $0 == path || $0.hasPrefix(path + "/") }).sorted(by: >) { self.commit { $0[path] = nil } }
        }
    }

    // MARK: - Requests

    func apply(_ request: ZooKeeperRequest, session: Int64) -> Result<ZooKeeperReply, ZooKeeperFailure> {
        guard self.sessions[session] != nil else { return .failure(.sessionLost) }
        self.touch(session)
        switch request {
        case .get(let path, let watch):
            let tree = self.readable(session)
            guard let node = tree[path] else { return .failure(.refused(.noNode, part: nil)) }
            if watch { self.watch(path, session, sees: node.mzxid == self.tree[path]?.mzxid, children: false) }
            return .success(.node(data: node.data, stat: node.stat))
        case .exists(let path, let watch):
            let tree = self.readable(session)
            if watch { self.watch(path, session, sees: tree[path]?.mzxid == self.tree[path]?.mzxid, children: false) }
            return .success(.stat(tree[path]?.stat))
        case .children(let path, let watch):
            let tree = self.readable(session)
            guard let node = tree[path] else { return .failure(.refused(.noNode, part: nil)) }
            let names = Self.children(of: path, in: tree)
            if watch { self.watch(path, session, sees: names == Self.children(of: path, in: self.tree), children: true) }
            return .success(.children(names, stat: node.stat))
        case .createShared(let path):
            return self.apply(.create(path: path, data: [], ephemeral: false), session: session)
        case .create(let path, let data, let ephemeral):
            return self.write([.create(path: path, data: data, ephemeral: ephemeral)], session).map { .stat($0[0]) }.mapError(Self.alone)
        case .set(let path, let data, let version):
            return self.write([.set(path: path, data: data, version: version)], session).map { .stat($0[0]) }.mapError(Self.alone)
        case .delete(let path, let version):
            return self.write([.delete(path: path, version: version)], session).map { _ in .done }.mapError(Self.alone)
        case .multi(let parts):
            return self.write(parts, session).map { stats in
                .multi(zip(parts, stats).map { part, stat in if case .set = part { stat } else { nil } })
            }
        }
    }

    private static func alone(_ failure: ZooKeeperFailure) -> ZooKeeperFailure {
        if case .refused(let refusal, _) = failure { .refused(refusal, part: nil) } else { failure }
    }

    private func write(_ parts: [ZooKeeperRequest.Part], _ session: Int64) -> Result<[ZooKeeperStat?], ZooKeeperFailure> {
        var next = self.tree
        var stats: [ZooKeeperStat?] = []
        let zxid = self.zxid + 1
        for (index, part) in parts.enumerated() {
            if let refusal = self.refusal(part, next) { return .failure(.refused(refusal, part: index)) }
            switch part {
            case .check: stats.append(nil)
            case .create(let path, let data, let ephemeral):
                next[path] = Znode(data: data, czxid: zxid, mzxid: zxid, version: 0, owner: ephemeral ? session : 0)
                stats.append(next[path]!.stat)
            case .set(let path, let data, _):
                next[path]!.data = data
                next[path]!.mzxid = zxid
                next[path]!.version += 1
                stats.append(next[path]!.stat)
            case .delete(let path, _):
                next[path] = nil
                stats.append(nil)
            }
        }
        self.commit { $0 = next }
        self.sessions[session]?.zxid = self.zxid
        return .success(stats)
    }

    private func refusal(_ part: ZooKeeperRequest.Part, _ tree: [String: Znode]) -> ZooKeeperFailure.Refusal? {
        switch part {
        case .check(let path, let version):
            if !self.isFenced { return nil }
            return Self.refusal(path, version, tree)
        case .set("/rt/sim/view", _, _) where !self.isFenced: return Self.refusal("/rt/sim/view", nil, tree)
        case .set(let path, _, let version), .delete(let path, let version): return Self.refusal(path, version, tree)
        case .create(let path, _, _):
            let parent = String(path.prefix(upTo: path.lastIndex(of: "/")!))
            if tree[parent.isEmpty ? "/" : parent] == nil { return .noNode }
            return tree[path] == nil ? nil : .nodeExists
        }
    }

    private static func refusal(_ path: String, _ version: Int32?, _ tree: [String: Znode]) -> ZooKeeperFailure.Refusal? {
        guard let node = tree[path] else { return .noNode }
        return version == nil || version == node.version ? nil : .badVersion
    }

    private static func children(of path: String, in tree: [String: Znode]) -> [String] {
        tree.keys.filter { $0.hasPrefix(path + "/") && !$0.dropFirst(path.count + 1).contains("/") }.map { String($0.dropFirst(path.count + 1)) }.sorted()
    }

    // MARK: - Changes and watches

    private func commit(_ body: (inout [String: Znode]) -> Void) {
        let before = self.tree
        self.past.append((self.zxid, before))
        if self.past.count > 8 { self.past.removeFirst() }
        body(&self.tree)
        self.zxid += 1
        for path in Set(before.keys).union(self.tree.keys).sorted() where before[path]?.mzxid != self.tree[path]?.mzxid {
            self.fire(path, &self.dataWatches)
            if self.tree[path] == nil { self.fire(path, &self.childWatches) }
            if (before[path] == nil) != (self.tree[path] == nil) { self.fire(String(path.prefix(upTo: path.lastIndex(of: "/")!)), &self.childWatches) }
            if path.hasSuffix("/view"), self.tree[path] != nil, !self.isOverwriting, let view = self.view {
                let last = before[path].flatMap { try? ClusterView(json: $0.data) }
                let processes = Dictionary(uniqueKeysWithValues: self.simulation.sortedNodes.map { ($0.id, $0.process) })
                self.simulation.checker.wrote(view, after: last, processes)
            }
        }
    }

    private func fire(_ path: String, _ watches: inout [String: Set<Int64>]) {
        for session in (watches.removeValue(forKey: path) ?? []).sorted() { self.notify(session, path) }
    }

    private func notify(_ session: Int64, _ path: String) {
        guard let node = self.sessions[session]?.node else { return }
        self.simulation.after(self.simulation.milliseconds(0...10)) { node.watchFired(path, session: session) }
    }

    private func watch(_ path: String, _ session: Int64, sees isCurrent: Bool, children: Bool) {
        // A lagging server fires the watch as soon as it has caught up.
        guard isCurrent else { return self.notify(session, path) }
        if children { self.childWatches[path, default: []].insert(session) } else { self.dataWatches[path, default: []].insert(session) }
    }

    /// The tree of the session's server: usually the newest, sometimes an older one, but never older than what the session has seen.
    private func readable(_ session: Int64) -> [String: Znode] {
        let seen = self.sessions[session]!.zxid
        if self.simulation.chance(6), let old = self.past.filter({ $0.zxid >= seen }).randomElement(using: &self.simulation.random) {
            self.sessions[session]!.zxid = old.zxid
            return old.tree
        }
        self.sessions[session]!.zxid = self.zxid
        return self.tree
    }
}
