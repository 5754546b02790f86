import AdminAPI
import Partitioning

/// What the controller knows beyond what every node knows. Built anew after each election, from ZooKeeper and the nodes' reports.
struct Leader: Sendable {
    let epoch: Int32
    /// The version of `/controller_epoch` under which everything is written: whoever is elected next changes it.
    let epochVersion: Int32
    let electedAt: ContinuousClock.Instant

    struct Member: Hashable, Sendable {
        var record: MemberRecord
        var incarnation: Int64
    }

    struct NodeEntry: Hashable, Sendable {
        var record: NodeRecord
        /// Nil where there is no znode.
        var version: Int32?
        /// The znode is lost or has something else, and is written again.
        var isDamaged = false
    }

    /// Nothing is decided before they have been read for the first time, and ``nodes``, too.
    var members: [String: Member] = [:]
    var areMembersRead = false
    var nodes: [String: NodeEntry] = [:]
    var areNodesRead = false
    /// A listing whose details are being read.
    var gatheringMembers: Gathering<Member>?
    var gatheringNodes: Gathering<NodeEntry>?

    struct Gathering<Value: Sendable>: Sendable {
        /// As many as a client may have under way and still have room for others.
        static var openMax: Int { 64 }

        /// Not asked for yet, or in vain.
        var queue: [String]
        /// Asked for.
        var open: Set<String> = []
        var found: [String: Value] = [:]
        /// After a failure.
        var notBefore: ContinuousClock.Instant?

        var isComplete: Bool { self.queue.isEmpty && self.open.isEmpty }

        mutating func next(at now: ContinuousClock.Instant) -> [String] {
            if let notBefore, now < notBefore { return [] }
            var ids: [String] = []
            while self.open.count < Self.openMax, let id = self.queue.popLast() {
                self.open.insert(id)
                ids.append(id)
            }
            return ids
        }

        mutating func failed(_ id: String, at now: ContinuousClock.Instant) {
            self.queue.append(id)
            self.notBefore = now.advanced(by: .milliseconds(200))
        }
    }

    /// A view is with ZooKeeper; the next one is made of what it becomes.
    var isWriting = false
    /// That view is written over an older one than this node knows.
    var lost: (read: Int64, known: Int64)?
    /// Why the view that should be is none that may be written.
    var invalid: String?
    var notBefore: ContinuousClock.Instant?
    var sequence: Int64 = 0
    /// Of the view that was written last, by its writer's mark.
    var reasons: (writer: String, ViewReasons)?

    /// The newest report of each node, of its present incarnation.
    var reports: [String: Received] = [:]

    struct Received: Sendable {
        var report: NodeReport
        var at: ContinuousClock.Instant
    }

    /// One that says something about now.
    func freshReport(of id: String, at now: ContinuousClock.Instant) -> NodeReport? {
        self.reports[id].flatMap { now < $0.at.advanced(by: ClusterStatus.reportAgeMax) ? $0.report : nil }
    }

    /// Partitions that were granted and that their owners do not serve, since when.
    var unserved: [Int: Unserved] = [:]
    /// When they are looked for next.
    var unservedFrom: ContinuousClock.Instant?

    struct Unserved: Hashable, Sendable {
        /// It is moments, mostly: longer is a fault that an operator has to know.
        static let patience = Duration.seconds(10)
        var ownerEpoch: Int64
        var since: ContinuousClock.Instant
    }

    /// Those of them that take too long.
    func unservedTooLong(at now: ContinuousClock.Instant) -> [Int] {
        self.unserved.filter { now >= $0.value.since.advanced(by: Unserved.patience) }.keys.sorted()
    }

    /// Of owners that have reported. One that has not is a reason of its own.
    mutating func findUnserved(_ view: ClusterView, at now: ContinuousClock.Instant) {
        if let from = self.unservedFrom, now < from { return }
        self.unservedFrom = now.advanced(by: .seconds(1))
        let held = self.reports.mapValues { Set($0.report.serving).union($0.report.sealed) }
        var unserved: [Int: Unserved] = [:]
        for (partition, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner, let held = held[owner], !held.contains(Grant(partition: partition, ownerEpoch: entry.ownerEpoch)) else {
                continue
            }
            let known = self.unserved[partition].flatMap { $0.ownerEpoch == entry.ownerEpoch ? $0 : nil }
            unserved[partition] = known ?? Unserved(ownerEpoch: entry.ownerEpoch, since: now)
        }
        self.unserved = unserved
    }

    var guards: Guards
    /// Operators' changes that are with ZooKeeper, by their number.
    var changes: [Int64: PendingRequest] = [:]
    /// Requests that wait until what they change has been read again: from an old copy the response might be that there is nothing to change.
    var held: [PendingRequest] = []
    /// Registry entries of forgotten nodes that are being removed.
    var removing: Set<String> = []
    /// After a removal that failed, of these or of a dead process.
    var removeFrom: ContinuousClock.Instant?
    /// Znodes that are being written again.
    var repairing: Set<String> = []
    /// After a repair that failed.
    var repairFrom: ContinuousClock.Instant?

    struct Guards: Sendable {
        var debounce: RebalanceDebounce
        var massFailure: MassFailureGuard
        /// The newest incarnation of each node that was seen to go: a view that has to be written twice loses it once.
        var counted: [String: Int64] = [:]
        /// Incarnations that have said that they go.
        var leaving: Set<Int64> = []
        var flaps = FlapGuard()
        /// Who has lifted a cordon that ``flaps`` had set, until the view says so.
        var lifted: [String: String] = [:]
        var homes = HomeHints()
        /// When a node was seen under this new incarnation, while it joins again.
        var returning: [Int64: ContinuousClock.Instant] = [:]
        /// Since when an incarnation is fenced, or was last seen to be unreachable: another process of the same id is to be judged by itself.
        var fenced: [Int64: ContinuousClock.Instant] = [:]
        var lastFence: ContinuousClock.Instant?
        /// Nodes whose member node is being removed because their port is closed.
        var evicting: Set<Int64> = []

        init(_ settings: ClusterSettings) {
            self.debounce = RebalanceDebounce(quiet: settings.joinQuiet, longest: settings.joinLongest)
            self.massFailure = MassFailureGuard(hold: settings.massFailureHold)
        }

        /// Forgets processes that are neither there nor in the view, and nodes likewise.
        mutating func prune(_ members: [String: Member], _ view: ClusterView?) {
            let nodes = view?.nodes ?? []
            let incarnations = Set(members.values.map(\.incarnation)).union(nodes.compactMap(\.incarnation))
            self.evicting.formIntersection(incarnations)
            self.returning = self.returning.filter { incarnations.contains($0.key) }
            self.fenced = self.fenced.filter { incarnations.contains($0.key) }
            let ids = Set(members.keys).union(nodes.map(\.id))
            self.counted = self.counted.filter { ids.contains($0.key) }
            self.lifted = self.lifted.filter { ids.contains($0.key) }
        }
    }

    init(epoch: Int32, epochVersion: Int32, guards: Guards, electedAt: ContinuousClock.Instant) {
        self.epoch = epoch
        self.epochVersion = epochVersion
        self.guards = guards
        self.electedAt = electedAt
    }
}

/// A write to the registry or the configuration that an operator asked for.
enum ControllerChange: Hashable, Sendable {
    case node(String, number: Int64)
    case configuration(number: Int64)
    /// The entry of a forgotten node.
    case clear(String)
    /// Of a dead process.
    case evict(String, incarnation: Int64)
}
