import JSON

/// Follows the view: as ZooKeeper has it, as peers send it, and as this node's own disk remembers it. A pure value.
///
/// It takes a newer view and refuses one that contradicts the newest: then the store has lost a write. What every view has ever granted is in ``floor``.
struct ViewMachine: Sendable {
    struct Unreadable: Hashable, Sendable {
        var stat: Int32
        /// A newer version of the program may have written it.
        var isNewer: Bool
    }

    enum Effect: Hashable, Sendable {
        case adopted(ClusterView, before: ClusterView?)
        case alarm(String)
        /// Read the register again, and not before.
        case readAgain(from: ContinuousClock.Instant)
        /// Keep these bytes over restarts.
        case remember(number: UInt64, [UInt8])
        /// Ask these peers for their views.
        case pull([String])
        case wake(at: ContinuousClock.Instant)
    }

    private let paths: ClusterPaths
    private let cluster: String
    /// The newest view that was accepted, from ZooKeeper or from a peer.
    private(set) var view: ClusterView?
    /// By every view that was seen, the refused ones included.
    private(set) var floor = ViewFloor()
    private(set) var memory: ClusterMemory
    /// What operators had requested by views that were refused, of nodes that exist since, and no newer record says.
    private(set) var lostDesired: [String: NodeRecord] = [:]
    /// Since when this process has had a view.
    private(set) var since: ContinuousClock.Instant?
    /// What ZooKeeper has instead of a view.
    private(set) var unreadable: Unreadable?
    /// The newest version that ZooKeeper itself has shown: when it shows an older one, it has lost writes.
    private(set) var stored: (version: Int64, stat: Int32)?
    /// Since when a new session is shown an older view than this node has: a server that lags, or one that lost writes.
    private var olderSince: ContinuousClock.Instant?
    /// Views that peers have named, newer than this node's.
    private(set) var named: [String: Int64] = [:]
    private var pulledAt: ContinuousClock.Instant?

    init(paths: ClusterPaths, cluster: String, memory: ClusterMemory) {
        self.paths = paths
        self.cluster = cluster
        self.memory = memory
        if let view = memory.past?.view { self.floor.see(view) }
    }

    var version: Int64 { self.view?.version ?? 0 }

    // MARK: - From ZooKeeper

    mutating func found(_ data: [UInt8], _ stat: ZooKeeperStat, at now: ContinuousClock.Instant) -> [Effect] {
        let candidate: ClusterView
        do throws(JSONFailure) {
            candidate = try ClusterView(json: data)
        } catch {
            return self.isUnreadable(data, stat, error, at: now)
        }
        self.unreadable = nil
        var effects = self.recall(unless: candidate.version, at: now)
        // A session never sees its servers go back, so an older view than it has shown before is a server that lost what it had acknowledged.
        if let stored, candidate.version < stored.version {
            effects.append(
                .alarm("ZooKeeper lost writes: its view went back from version \(stored.version) to \(candidate.version); this node keeps the newer"))
        }
        effects += self.checkAge(candidate, at: now)
        self.stored = (candidate.version, stat.version)
        return effects + self.accept(candidate, from: "ZooKeeper", at: now).effects
    }

    mutating func absent(at now: ContinuousClock.Instant) -> [Effect] {
        let effects = self.recall(unless: nil, at: now)
        self.stored = nil
        self.unreadable = nil
        return effects
    }

    /// This node wrote it. A peer may have a newer one by now.
    mutating func wrote(_ view: ClusterView, stat: Int32) {
        self.unreadable = nil
        self.stored = (view.version, stat)
    }

    mutating func sessionLost() { self.stored = nil }

    /// A new session may be served by a server that lags a moment. One that still shows an older view after that has lost writes.
    private mutating func checkAge(_ candidate: ClusterView, at now: ContinuousClock.Instant) -> [Effect] {
        guard let view = self.view, candidate.version < view.version else {
            self.olderSince = nil
            return []
        }
        // Of a new session, which may have come to another server than the last, nothing is known yet.
        let since = self.stored == nil ? now : self.olderSince ?? now
        self.olderSince = since
        guard now < since.advanced(by: .seconds(1)) else {
            return [
                .alarm("ZooKeeper lost writes: it shows version \(candidate.version) of the view, after \(view.version); this node keeps the newer")
            ]
        }
        return [.readAgain(from: now.advanced(by: .seconds(1)))]
    }

    private mutating func isUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONFailure, at now: ContinuousClock.Instant) -> [Effect] {
        let effects = self.recall(unless: nil, at: now)
        self.unreadable = Unreadable(stat: stat.version, isNewer: ClusterView.isVersioned(data))
        return effects + [.alarm("the view in ZooKeeper cannot be read, ownership stays as it is: \(failure). \(self.advice)")]
    }

    /// Bytes that are no view are written over by a controller that knows one. What a newer version of the program may have written is left to an operator.
    var mayBeReplaced: Bool { self.unreadable.map { !$0.isNewer && self.view != nil } ?? true }

    /// What an operator can do about a view that cannot be read.
    var advice: String {
        if self.unreadable?.isNewer ?? false {
            return "If a newer version of this program wrote it, upgrade this node; if not, delete \(self.paths.view), and the controller writes what it knows"
        }
        return self.view != nil
            ? "The controller writes again what it knows"
            : "Start a node that was a member; if there is none, delete \(self.paths.view), and the controller makes a new one"
    }

    // MARK: - From anywhere

    /// Takes a view if it is newer than the one this node has.
    mutating func accept(_ candidate: ClusterView, from source: String, at now: ContinuousClock.Instant) -> (isTaken: Bool, effects: [Effect]) {
        self.floor.see(candidate)
        let effects = self.recall(unless: candidate.version, at: now)
        guard let seen = self.view else {
            self.since = now
            return (true, effects + self.adopt(candidate))
        }
        // A peer's may be late, and so may a read that was under way while a peer's newer one came.
        guard candidate.version >= seen.version else { return (false, effects) }
        if let regression = seen.regression(in: candidate) {
            for node in candidate.nodes {
                if let desired = node.desired, desired.revision > self.lostDesired[node.id]?.revision ?? 0 { self.lostDesired[node.id] = desired }
            }
            return (false, effects + [.alarm("a view from \(source) is refused: \(regression)")])
        }
        guard candidate.version > seen.version else { return (false, effects) }
        return (true, effects + self.adopt(candidate))
    }

    private mutating func adopt(_ view: ClusterView) -> [Effect] {
        let before = self.view
        self.view = view
        // Of a node that was forgotten nothing is lost.
        self.lostDesired = self.lostDesired.filter { id, desired in view.node(id).map { $0.desired?.revision ?? 0 < desired.revision } ?? false }
        return [.adopted(view, before: before)]
    }

    // MARK: - From peers

    /// A peer has named a version. A newer one is requested immediately.
    mutating func named(_ version: Int64, by id: String) {
        self.named[id] = version
        if version > self.version { self.pulledAt = nil }
    }

    /// Asks for newer views until they have come: a message may be lost with a link.
    mutating func pull(from isUp: (String) -> Bool, at now: ContinuousClock.Instant) -> [Effect] {
        let version = self.version
        self.named = self.named.filter { $0.value > version }
        guard !self.named.isEmpty else { return [] }
        if let due = self.pulledAt?.advanced(by: .seconds(1)), now < due { return [.wake(at: due)] }
        let ids = self.named.keys.sorted().filter(isUp)
        guard !ids.isEmpty else { return [] }
        self.pulledAt = now
        return [.pull(ids), .wake(at: now.advanced(by: .seconds(1)))]
    }

    // MARK: - From this node's disk

    /// ZooKeeper shows an older view than this node had before it was restarted, or none: this node continues with what it had, and the controller hears of it.
    private mutating func recall(unless version: Int64?, at now: ContinuousClock.Instant) -> [Effect] {
        guard self.view == nil, let past = self.memory.takePast(), version ?? 0 < past.version else { return [] }
        self.memory.skipLostGrants()
        self.since = now
        let alarm = Effect.alarm("ZooKeeper lost writes: it has no view, and this node had version \(past.version) before it was restarted")
        return (version == nil ? [alarm] : []) + self.adopt(past)
    }

    mutating func remember(_ configuration: ClusterConfiguration, isController: Bool, at now: ContinuousClock.Instant) -> [Effect] {
        let highest = max(self.floor.highestOwnerEpoch, isController ? self.memory.reservedAtStart : 0)
        switch self.memory.next(cluster: self.cluster, configuration: configuration, view: self.view, highest: highest, at: now) {
        case .write(let number, let value): return (try? value.json()).map { [.remember(number: number, $0)] } ?? []
        case .wait(let until): return [.wake(at: until)]
        case .nothing: return []
        }
    }

    mutating func remembered(_ number: UInt64, failure: String?, at now: ContinuousClock.Instant) -> [Effect] {
        self.memory.written(number, failure: failure, at: now)
        guard let failure else { return [] }
        return [.alarm("what this node knows of the cluster cannot be kept: \(failure). After a loss of ZooKeeper's data owner epochs could repeat")]
    }
}
