/// Restores znodes, including the view, if ZooKeeper has lost or damaged them, and the controller knows their content. A pure value.
///
/// The machines that read the data detect a loss: ``ViewMachine`` with ``ViewFloor`` and ``ClusterMemory``, ``ConfigurationMachine``, ``ElectionMachine``.
struct RepairMachine: Sendable {
    private let settings: ClusterSettings
    private let paths: ClusterPaths
    /// Parent znodes of the cluster (`/members` or `/nodes`) that ZooKeeper has lost.
    private var absentFolders: Set<RegistryReads.Target> = []
    /// The paths of repairs without a reply.
    private var open: Set<String> = []
    /// After a failure, the earliest time of the next repair.
    private var repairFrom: ContinuousClock.Instant?
    /// Set when ZooKeeper has lost a view: the version in ZooKeeper (0 if it has no readable view), and the newest version that this node knows.
    private var lostView: (read: Int64, known: Int64)?

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    // MARK: - Znodes

    /// Records that ZooKeeper has lost a parent znode. Returns an alarm.
    mutating func folderIsAbsent(_ folder: RegistryReads.Target) -> String {
        self.absentFolders.insert(folder)
        return "ZooKeeper lost \(self.path(of: folder)): the controller creates it again"
    }

    mutating func folderIsThere(_ folder: RegistryReads.Target) { self.absentFolders.remove(folder) }

    private func path(of folder: RegistryReads.Target) -> String { folder == .nodes ? self.paths.nodes : self.paths.members }

    /// The writes that are due, by path.
    ///
    /// - Parameters:
    ///   - entries: the entries of the registry. The damaged entries are written.
    ///   - record: the controller's own record, if its znode is damaged.
    mutating func next(
        _ entries: [String: KnownNodes.Entry], record: [UInt8]?, _ facts: ControllerMachine.Facts
    ) -> (writes: [(path: String, part: ZooKeeperRequest.Part)], wake: ContinuousClock.Instant?) {
        var writes: [(path: String, part: ZooKeeperRequest.Part)] = []
        for folder in [RegistryReads.Target.members, .nodes] where self.absentFolders.contains(folder) && facts.reads.isCurrent(folder) {
            writes.append((self.path(of: folder), .create(path: self.path(of: folder), data: [], ephemeral: false)))
        }
        if let damaged = facts.damagedConfiguration, facts.reads.isCurrent(.configuration) {
            let path = self.paths.configuration
            writes.append((path, .set(path: path, data: damaged.configuration.json, version: damaged.version)))
        }
        if let version = facts.damagedController, let record, facts.reads.isCurrent(.controller) {
            writes.append((self.paths.controller, .set(path: self.paths.controller, data: record, version: version)))
        }
        for (id, entry) in entries.sorted(by: { $0.key < $1.key }) where entry.isDamaged && facts.reads.isCurrent(.nodes) {
            let path = self.paths.node(id)
            writes.append(
                (
                    path,
                    entry.version.map { .set(path: path, data: entry.record.json, version: $0) }
                        ?? .create(path: path, data: entry.record.json, ephemeral: false)
                ))
        }
        if !writes.isEmpty, let repairFrom, facts.now < repairFrom { return ([], repairFrom) }
        return (writes.filter { self.open.insert($0.path).inserted }, nil)
    }

    /// Handles the reply to a repair. If the repair failed, the machine waits a second before the next repair. Repeated failures then do not load the servers.
    mutating func replied(_ path: String, hasFailed: Bool, at now: ContinuousClock.Instant) {
        self.open.remove(path)
        if hasFailed { self.repairFrom = now.advanced(by: .seconds(1)) }
    }

    // MARK: - Operators' requests

    /// Restores the desired states that ZooKeeper has lost, if the newest views contain them. Called before the next view is computed, because that view would
    /// lose them too. Returns an alarm if a desired state was lost.
    func restoreDesired(_ entries: inout [String: KnownNodes.Entry], _ register: ViewMachine) -> String? {
        let remembered = (register.view?.nodes ?? []).compactMap { node in node.desired.map { (node.id, $0) } }
        var lost: [String] = []
        for (id, desired) in remembered + register.lostDesired.sorted(by: { $0.key < $1.key }) {
            if let entry = entries[id], entry.record.revision >= desired.revision { continue }
            // The controller removes the entry of a forgotten node, so its absence is no loss. A node that starts with this id later is a new node.
            if desired.desired == .removed, entries[id] == nil { continue }
            entries[id] = KnownNodes.Entry(record: desired, version: entries[id]?.version, isDamaged: true)
            lost.append("\(id) is to be \(desired.desired.rawValue), \(desired.request)")
        }
        guard !lost.isEmpty else { return nil }
        let more = lost.count > 5 ? ", and \(lost.count - 5) more" : ""
        return "ZooKeeper lost operators' requests: \(lost.prefix(5).joined(separator: "; "))\(more). The controller writes them again"
    }

    /// The last known record of a member whose znode cannot be read. If the member is alive, it writes its znode again itself.
    func knownMember(_ id: String, _ incarnation: Int64, _ known: KnownNodes.Member?, _ view: ClusterView?) -> KnownNodes.Member? {
        if let known, known.incarnation == incarnation { return known }
        guard let node = view?.node(id), node.incarnation == incarnation else { return nil }
        return KnownNodes.Member(
            record: MemberRecord(
                link: node.link, api: node.api, zone: node.zone, weight: node.weight, version: node.version, protocols: self.settings.protocols, nonce: "",
                startedAt: 0), incarnation: incarnation)
    }

    /// The entry of a node whose znode cannot be read: the last known record. If no record is known, the node counts as cordoned, so it gains no partitions.
    func knownEntry(_ known: KnownNodes.Entry?, version: Int32, _ node: ClusterView.Node?) -> KnownNodes.Entry {
        let record = known?.record ?? node?.desired
        return KnownNodes.Entry(record: record ?? NodeRecord(desired: .cordoned), version: version, isDamaged: record != nil)
    }

    // MARK: - The view

    /// If ZooKeeper has lost the newest view, raises the owner epochs of the next view above those of all earlier views, so that no owner epoch is used twice.
    /// Returns whether the view was lost.
    mutating func regrant(_ evolution: inout ViewEvolution, from current: ClusterView, _ register: ViewMachine) -> Bool {
        let isLost = register.unreadable != nil || register.stored.map { $0.version < current.version } ?? (register.view != nil)
        if isLost { for partition in evolution.view.partitions.indices { evolution.view.partitions[partition].ownerEpoch += 1 } }
        // The owner epoch of a new grant is above the reservation of earlier processes, because all nodes may have lost the views of those processes.
        for (index, entry) in evolution.view.partitions.enumerated() {
            var least = register.floor.ownerEpoch(index, entry)
            if max(least, entry.ownerEpoch) > current.partitions[index].ownerEpoch { least = max(least, register.memory.reservedAtStart + 1) }
            if least > entry.ownerEpoch { evolution.view.partitions[index].ownerEpoch = least }
        }
        // The versions are stored now, because a newer view may exist when ZooKeeper's reply arrives.
        self.lostView = isLost && current.version > 0 ? (register.unreadable == nil ? register.stored?.version ?? 0 : 0, current.version) : nil
        return isLost
    }

    /// The alarm for a lost view. It is raised when the next view has been written.
    var viewAlarm: String? {
        guard let lostView else { return nil }
        let found =
            lostView.read > 0 ? "its view went back from version \(lostView.known) to \(lostView.read)" : "its view of version \(lostView.known) was lost"
        return "ZooKeeper lost writes: \(found); the controller has written the view again"
    }
}
