import Testing

@testable import Coordination

/// The tree of a simulated ZooKeeper, for the tests of one machine. The test decides when a request is applied.
struct ClusterMachineStore {
    struct Znode {
        var data: [UInt8]
        var stat: ZooKeeperStat
    }

    private(set) var tree: [String: Znode] = ["": Znode(data: [], stat: ZooKeeperStat(czxid: 0, mzxid: 0, version: 0, ephemeralOwner: 0))]
    private var zxid: Int64 = 10
    private var watches: Set<String> = []
    private var fired: Set<String> = []

    mutating func apply(_ request: ZooKeeperRequest, session: Int64) -> Result<ZooKeeperReply, ZooKeeperFailure> {
        switch request {
        case .get(let path, let watch):
            guard let node = self.tree[path] else { return .failure(.refused(.noNode, part: nil)) }
            if watch { self.watches.insert(path) }
            return .success(.node(data: node.data, stat: node.stat))
        case .exists(let path, let watch):
            if watch { self.watches.insert(path) }
            return .success(.stat(self.tree[path]?.stat))
        case .children(let path, let watch):
            guard let node = self.tree[path] else { return .failure(.refused(.noNode, part: nil)) }
            if watch { self.watches.insert(path) }
            let names = self.tree.keys.filter { Self.parent($0) == path && $0 != path }.map { String($0.dropFirst(path.count + 1)) }
            return .success(.children(names.sorted(), stat: node.stat))
        case .create(let path, let data, let ephemeral):
            return self.write([.create(path: path, data: data, ephemeral: ephemeral)], session).map { .stat($0[0]) }.mapError(Self.alone)
        case .createShared(let path):
            return self.apply(.create(path: path, data: [], ephemeral: false), session: session)
        case .set(let path, let data, let version):
            return self.write([.set(path: path, data: data, version: version)], session).map { .stat($0[0]) }.mapError(Self.alone)
        case .delete(let path, let version):
            return self.write([.delete(path: path, version: version)], session).map { _ in .done }.mapError(Self.alone)
        case .multi(let parts):
            return self.write(parts, session).map { stats in .multi(zip(parts, stats).map { part, stat in if case .set = part { stat } else { nil } }) }
        }
    }

    /// Another process writes the znode.
    mutating func put(_ path: String, _ data: [UInt8], session: Int64 = 0) {
        let part: ZooKeeperRequest.Part =
            self.tree[path] == nil ? .create(path: path, data: data, ephemeral: session != 0) : .set(path: path, data: data, version: nil)
        guard case .success = self.write([part], session) else { return recordMissing("\(path) cannot be written") }
    }

    mutating func remove(_ path: String) { _ = self.write([.delete(path: path, version: nil)], 0) }

    mutating func end(_ session: Int64) {
        for path in self.tree.filter({ $0.value.stat.ephemeralOwner == session }).keys.sorted() { self.remove(path) }
    }

    /// Replaces a znode with an earlier state, as if the servers had lost all later writes to the znode.
    mutating func rollBack(_ path: String, to node: Znode?) {
        self.tree[path] = node
        self.change(path)
    }

    mutating func takeFired() -> Set<String> {
        defer { self.fired = [] }
        return self.fired
    }

    private static func parent(_ path: String) -> String { path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "" }

    private static func alone(_ failure: ZooKeeperFailure) -> ZooKeeperFailure {
        if case .refused(let refusal, _) = failure { .refused(refusal, part: nil) } else { failure }
    }

    private mutating func change(_ path: String) {
        for path in [path, Self.parent(path)] where self.watches.remove(path) != nil { self.fired.insert(path) }
    }

    private mutating func write(_ parts: [ZooKeeperRequest.Part], _ session: Int64) -> Result<[ZooKeeperStat?], ZooKeeperFailure> {
        var next = self.tree
        var stats: [ZooKeeperStat?] = []
        let zxid = self.zxid + 1
        for (index, part) in parts.enumerated() {
            switch part {
            case .create(let path, let data, let ephemeral):
                if next[Self.parent(path)] == nil { return .failure(.refused(.noNode, part: index)) }
                if next[path] != nil { return .failure(.refused(.nodeExists, part: index)) }
                let stat = ZooKeeperStat(czxid: zxid, mzxid: zxid, version: 0, ephemeralOwner: ephemeral ? session : 0)
                next[path] = Znode(data: data, stat: stat)
                stats.append(stat)
            case .check(let path, let version), .set(let path, _, let version), .delete(let path, let version):
                guard let stat = next[path]?.stat else { return .failure(.refused(.noNode, part: index)) }
                if let version, version != stat.version { return .failure(.refused(.badVersion, part: index)) }
                if case .set(_, let data, _) = part {
                    next[path]!.data = data
                    next[path]!.stat.mzxid = zxid
                    next[path]!.stat.version += 1
                } else if case .delete = part {
                    next[path] = nil
                }
                stats.append(next[path]?.stat)
            }
        }
        self.zxid = zxid
        self.tree = next
        for part in parts {
            switch part {
            case .check: break
            case .create(let path, _, _), .set(let path, _, _), .delete(let path, _): self.change(path)
            }
        }
        return .success(stats)
    }
}
