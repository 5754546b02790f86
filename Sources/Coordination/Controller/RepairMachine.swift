/// Writes again what ZooKeeper has lost or damaged, as far as the controller knows it. A pure value.
///
/// That something was lost is noticed by the machine that reads it: ``ViewMachine`` with ``ViewFloor`` and ``ClusterMemory``, ``ConfigurationMachine``,
/// ``ElectionMachine``. What is done about it is here, for folders, znodes and the view.
struct RepairMachine: Sendable {
    private let settings: ClusterSettings
    private let paths: ClusterPaths
    /// Folders of the cluster that ZooKeeper has lost.
    private var absentFolders: Set<RegistryReads.Target> = []
    /// Znodes that are being written again.
    private var open: Set<String> = []
    /// After a repair that failed.
    private var repairFrom: ContinuousClock.Instant?
    /// The view that is being written replaces an older one than this node knows.
    private var lostView: (read: Int64, known: Int64)?

    init(settings: ClusterSettings) {
        self.settings = settings
        self.paths = settings.paths
    }

    // MARK: - Folders and znodes

    /// Returns the alarm.
    mutating func folderIsAbsent(_ folder: RegistryReads.Target) -> String {
        self.absentFolders.insert(folder)
        return "ZooKeeper lost \(self.path(of: folder)): the controller makes it again"
    }

    mutating func folderIsThere(_ folder: RegistryReads.Target) { self.absentFolders.remove(folder) }

    private func path(of folder: RegistryReads.Target) -> String { folder == .nodes ? self.paths.nodes : self.paths.members }

    /// The writes that are due, by path.
    ///
    /// - Parameters:
    ///   - entries: the registry, as it is and as it should be.
    ///   - record: the controller's own, where its znode is damaged.
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

    /// What the servers refuse is not repeated as fast as they reply.
    mutating func replied(_ path: String, hasFailed: Bool, at now: ContinuousClock.Instant) {
        self.open.remove(path)
        if hasFailed { self.repairFrom = now.advanced(by: .seconds(1)) }
    }

    // MARK: - What operators had requested

    /// Puts back what operators had requested by the newest views, and ZooKeeper does not know any more. It is done before the next view is made, which would
    /// forget it, too. Returns the alarm.
    func restoreDesired(_ entries: inout [String: KnownNodes.Entry], _ register: ViewMachine) -> String? {
        let remembered = (register.view?.nodes ?? []).compactMap { node in node.desired.map { (node.id, $0) } }
        var lost: [String] = []
        for (id, desired) in remembered + register.lostDesired.sorted(by: { $0.key < $1.key }) {
            if let entry = entries[id], entry.record.revision >= desired.revision { continue }
            // Its entry is removed once it is forgotten; a node that came meanwhile is a new one.
            if desired.desired == .removed, entries[id] == nil { continue }
            entries[id] = KnownNodes.Entry(record: desired, version: entries[id]?.version, isDamaged: true)
            lost.append("\(id) is to be \(desired.desired.rawValue), \(desired.request)")
        }
        guard !lost.isEmpty else { return nil }
        let more = lost.count > 5 ? ", and \(lost.count - 5) more" : ""
        return "ZooKeeper lost what operators had requested: \(lost.prefix(5).joined(separator: "; "))\(more). The controller writes it again"
    }

    /// A node whose member znode cannot be read, as it was known. The node itself writes it again, if it lives.
    func knownMember(_ id: String, _ incarnation: Int64, _ known: KnownNodes.Member?, _ view: ClusterView?) -> KnownNodes.Member? {
        if let known, known.incarnation == incarnation { return known }
        guard let node = view?.node(id), node.incarnation == incarnation else { return nil }
        return KnownNodes.Member(
            record: MemberRecord(
                link: node.link, api: node.api, zone: node.zone, weight: node.weight, version: node.version, protocols: self.settings.protocols, nonce: "",
                startedAt: 0), incarnation: incarnation)
    }

    /// The last known request did not allow partitions for the node: it stays unchanged, or counts as cordoned.
    func knownEntry(_ known: KnownNodes.Entry?, version: Int32, _ node: ClusterView.Node?) -> KnownNodes.Entry {
        let record = known?.record ?? node?.desired
        return KnownNodes.Entry(record: record ?? NodeRecord(desired: .cordoned), version: version, isDamaged: record != nil)
    }

    // MARK: - The view

    /// A view that lost writes is written again, as this node knows it, under owner epochs that no node has had: whatever any view has granted is granted again
    /// beyond it. Returns whether it was lost.
    mutating func regrant(_ evolution: inout ViewEvolution, from current: ClusterView, _ register: ViewMachine) -> Bool {
        let isLost = register.unreadable != nil || register.stored.map { $0.version < current.version } ?? (register.view != nil)
        if isLost { for partition in evolution.view.partitions.indices { evolution.view.partitions[partition].ownerEpoch += 1 } }
        // What is granted now is beyond what was reserved before this process started, because views of that time may be lost everywhere.
        for (index, entry) in evolution.view.partitions.enumerated() {
            var least = register.floor.ownerEpoch(index, entry)
            if max(least, entry.ownerEpoch) > current.partitions[index].ownerEpoch { least = max(least, register.memory.reservedAtStart + 1) }
            if least > entry.ownerEpoch { evolution.view.partitions[index].ownerEpoch = least }
        }
        // What there is when the reply comes may be newer.
        self.lostView = isLost && current.version > 0 ? (register.unreadable == nil ? register.stored?.version ?? 0 : 0, current.version) : nil
        return isLost
    }

    /// The alarm, once the view has been written.
    var viewAlarm: String? {
        guard let lostView else { return nil }
        let found =
            lostView.read > 0 ? "its view went back from version \(lostView.known) to \(lostView.read)" : "its view of version \(lostView.known) was gone"
        return "ZooKeeper lost writes: \(found); it was written again"
    }
}
