import JSON

/// Follows the view, which comes from ZooKeeper, from peers, and from this node's own disk. A pure value.
///
/// The machine accepts a newer view. It refuses a view that contradicts the newest view, because then ZooKeeper has lost a write. ``floor`` stores the highest
/// numbers of all views.
struct ViewMachine: Sendable {
    /// The znode of the view contains bytes that this version cannot read as a view.
    struct Unreadable: Hashable, Sendable {
        /// The version of the znode.
        var stat: Int32
        /// Whether a newer version of the program may have written the znode.
        var isNewer: Bool
    }

    enum Effect: Hashable, Sendable {
        case adopted(ClusterView, before: ClusterView?)
        case alarm(String)
        /// Read the view again at that time.
        case readAgain(from: ContinuousClock.Instant)
        /// Store these bytes, so that they survive a restart.
        case remember(number: UInt64, [UInt8])
        /// Request the views of these peers.
        case pull([String])
        case wake(at: ContinuousClock.Instant)
    }

    private let paths: ClusterPaths
    private let cluster: String
    /// The newest view that was accepted, from ZooKeeper or from a peer.
    private(set) var view: ClusterView?
    /// The highest numbers of all views, including refused views.
    private(set) var floor = ViewFloor()
    private(set) var memory: ClusterMemory
    /// Desired states of nodes in the present view that are newer than in this view, and were found only in a refused view.
    private(set) var lostDesired: [String: NodeRecord] = [:]
    /// When this process got its first view.
    private(set) var since: ContinuousClock.Instant?
    private(set) var unreadable: Unreadable?
    /// The version of the view that ZooKeeper showed last in this session, and the version of its znode.
    /// A lower version later means that ZooKeeper has lost writes.
    private(set) var stored: (version: Int64, stat: Int32)?
    /// When a new session first showed an older view than this node has. The server lags, or has lost writes.
    private var olderSince: ContinuousClock.Instant?
    /// The versions that peers have reported and that are newer than this node's view, by peer.
    private(set) var newerVersions: [String: Int64] = [:]
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
        do throws(JSONError) {
            candidate = try ClusterView(json: data)
        } catch {
            return self.isUnreadable(data, stat, error, at: now)
        }
        self.unreadable = nil
        var effects = self.recall(unless: candidate.version, at: now)
        // Within a session, reads never go back. So an older view than before means that the servers lost an acknowledged write.
        if let stored, candidate.version < stored.version {
            effects.append(
                .alarm("ZooKeeper lost writes: its view went back from version \(stored.version) to \(candidate.version); this node keeps the newer view"))
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

    /// This node wrote the view. A peer may have sent a newer view meanwhile.
    ///
    /// - Parameter stat: nil if the write created the znode. Then the reply contains no stat, and the version is 0.
    mutating func wrote(_ view: ClusterView, stat: ZooKeeperStat?) {
        self.unreadable = nil
        self.stored = (view.version, stat?.version ?? 0)
    }

    mutating func sessionLost() {
        self.stored = nil
    }

    /// The server of a new session may lag for a moment. If it still shows an older view after a second, it has lost writes.
    private mutating func checkAge(_ candidate: ClusterView, at now: ContinuousClock.Instant) -> [Effect] {
        guard let view = self.view, candidate.version < view.version else {
            self.olderSince = nil
            return []
        }
        // The first read of a session may come from another server than the reads of the previous session, so the period begins again.
        let since = self.stored == nil ? now : self.olderSince ?? now
        self.olderSince = since
        guard now < since.advanced(by: .seconds(1)) else {
            return [
                .alarm("ZooKeeper lost writes: it has version \(candidate.version) of the view, after \(view.version); this node keeps the newer view")
            ]
        }
        return [.readAgain(from: now.advanced(by: .seconds(1)))]
    }

    private mutating func isUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONError, at now: ContinuousClock.Instant) -> [Effect] {
        let effects = self.recall(unless: nil, at: now)
        self.unreadable = Unreadable(stat: stat.version, isNewer: ClusterView.isVersioned(data))
        return effects + [.alarm("the view in ZooKeeper cannot be read, and ownership does not change: \(failure). \(self.advice)")]
    }

    /// Whether a controller may replace the znode of the view. It replaces unreadable bytes if it knows a view. It does not replace bytes that a newer version
    /// of the program may have written, because an operator has to decide that.
    var mayBeReplaced: Bool { self.unreadable.map { !$0.isNewer && self.view != nil } ?? true }

    /// Advice to the operator about a view that cannot be read.
    var advice: String {
        if self.unreadable?.isNewer ?? false {
            return
                "If a newer version of this program wrote it, upgrade this node; if not, delete \(self.paths.view), and the controller writes the view that it knows"
        }
        return self.view != nil
            ? "The controller replaces it with the view that it knows"
            : "Start a node that was a member; if there is no such node, delete \(self.paths.view), and the controller creates a new view"
    }

    // MARK: - From any source

    /// Accepts a view if it is newer than the present one.
    mutating func accept(_ candidate: ClusterView, from source: String, at now: ContinuousClock.Instant) -> (isTaken: Bool, effects: [Effect]) {
        self.floor.see(candidate)
        let effects = self.recall(unless: candidate.version, at: now)
        guard let seen = self.view else {
            self.since = now
            return (true, effects + self.adopt(candidate))
        }
        // An older view is ignored without an alarm: a peer's message may be late, or a peer's newer view may have arrived before the reply to a read.
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
        // A node that is not in the view any more was forgotten, and its desired state is not restored.
        self.lostDesired = self.lostDesired.filter { id, desired in view.node(id).map { $0.desired?.revision ?? 0 < desired.revision } ?? false }
        return [.adopted(view, before: before)]
    }

    // MARK: - From peers

    /// A peer has reported the version of its view. A newer view is requested immediately.
    mutating func reported(_ version: Int64, by id: String) {
        self.newerVersions[id] = version
        if version > self.version { self.pulledAt = nil }
    }

    /// Requests newer views every second until they have arrived, because a message may be lost with its link.
    mutating func pull(from isUp: (String) -> Bool, at now: ContinuousClock.Instant) -> [Effect] {
        let version = self.version
        self.newerVersions = self.newerVersions.filter { $0.value > version }
        guard !self.newerVersions.isEmpty else { return [] }
        if let due = self.pulledAt?.advanced(by: .seconds(1)), now < due { return [.wake(at: due)] }
        let ids = self.newerVersions.keys.sorted().filter(isUp)
        guard !ids.isEmpty else { return [] }
        self.pulledAt = now
        return [.pull(ids), .wake(at: now.advanced(by: .seconds(1)))]
    }

    // MARK: - From this node's disk

    /// If ZooKeeper has no view, or an older view than this node had before its restart, this node continues with the view from its disk. It reports the
    /// version of that view to the controller.
    private mutating func recall(unless version: Int64?, at now: ContinuousClock.Instant) -> [Effect] {
        guard self.view == nil, let past = self.memory.takePast(), version ?? 0 < past.version else { return [] }
        self.memory.skipLostGrants()
        self.since = now
        let alarm = Effect.alarm("ZooKeeper lost writes: it has no view, and this node had version \(past.version) before its restart")
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
        return [.alarm("this node's knowledge of the cluster cannot be stored: \(failure). After a loss of ZooKeeper's data, owner epochs could repeat")]
    }
}
