import AdminAPI
import JSON
import Partitioning

/// The work of the elected member: tracks the members, writes the next view, and repairs data that ZooKeeper has lost. A pure value.
///
/// The machine exists while this node is the controller. It gets its knowledge from ZooKeeper and from the nodes' reports. ZooKeeper refuses each write if the
/// controller epoch has changed, and a write of the view also if the replaced view has changed. The machine is level-triggered: at ``Event/look`` it checks
/// everything, and starts all work that is due.
struct ControllerMachine: Sendable {
    enum Event: Sendable {
        /// Something may have changed: check everything.
        case look
        case replied(Operation, Result<ZooKeeperReply, ZooKeeperFailure>)
        /// The children of a parent znode have been listed.
        case listed(RegistryReads.Target, [String])
        case folderIsAbsent(RegistryReads.Target)
        case reported(NodeReport, by: String)
        /// This node did not accept the view that it wrote. The next view is written a second later.
        case viewRefused
    }

    enum Operation: Hashable, Sendable {
        case readMember(String)
        case readNode(String)
        case writeView(ClusterView)
        /// Removes the registry entry of a forgotten node.
        case clear(String)
        /// Removes the member znode of a dead process.
        case evict(ProcessID)
        /// Writes a damaged or lost znode again, at this path.
        case repair(String)
    }

    enum Effect: Hashable, Sendable {
        case perform(ZooKeeperRequest, for: Operation)
        /// Read this target again.
        case readAgain(RegistryReads.Target)
        /// Read the target with this path again.
        case markDirty(String)
        /// The view is in ZooKeeper. `stat` is the stat of its znode, or nil if this write created the znode.
        case wrote(ClusterView, stat: ZooKeeperStat?)
        case record(ClusterEvent.Kind, about: String, String)
        /// Another node's alarm, and the version of that node's view.
        case reported(alarm: String, by: String, viewVersion: Int64)
        case alarm(String)
        case wake(at: ContinuousClock.Instant)
        case stepDown(String)
    }

    /// The member's knowledge that the controller's decisions depend on.
    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        let incarnation: Int64
        let register: ViewMachine
        let configuration: ClusterConfiguration?
        /// The configuration to write over a damaged znode, and the version of that znode.
        let damagedConfiguration: (configuration: ClusterConfiguration, version: Int32)?
        /// The version of this controller's own znode, if it is damaged.
        let damagedController: Int32?
        /// Whether this process created the cluster.
        let hasFounded: Bool
        let links: [String: LinkReach]
        /// Incarnations that have announced that they leave.
        let leaving: Set<Int64>
        let reads: RegistryReads

        var view: ClusterView? { self.register.view }
    }

    typealias Member = KnownNodes.Member
    typealias NodeEntry = KnownNodes.Entry

    private let settings: ClusterSettings
    private let paths: ClusterPaths
    let epoch: Int32
    /// The version of `/controller_epoch`. Every write checks this version, and the next election changes it.
    let epochVersion: Int32

    /// The members, entries and reports. The controller decides nothing before it has read the members and the entries for the first time.
    private(set) var known: KnownNodes
    private var areMembersRead = false
    private var areNodesRead = false
    /// The reads of all member znodes, and of all znodes with desired states, while they are in progress.
    private var gatheringMembers: Gathering<Member>?
    private var gatheringNodes: Gathering<NodeEntry>?

    private var unserved = UnservedPartitions()
    /// Contested partitions: two nodes report that they serve the partition under the same owner epoch.
    /// The key is the node to which the view does not grant the partition.
    private var contested: [String: [Grant]] = [:]
    private(set) var guards: ControllerGuards

    /// Whether the write of a view has no reply yet. The next view waits for the reply.
    private var isWriting = false
    /// Why the next view is not valid and cannot be written. Nil if it is valid.
    private(set) var invalid: String?
    /// After a failure, the earliest time of the next write.
    private var writeFrom: ContinuousClock.Instant?
    /// The number of views that this controller has tried to write.
    private var sequence: Int64 = 0
    /// The reasons for the changes in the last written view, and the `writer` of that view.
    private(set) var reasons: (writer: String, ViewReasons)?

    /// Registry entries of forgotten nodes that are being removed.
    private var removing: Set<String> = []
    /// After a failure, the earliest time of the next removal of an entry or of a dead process.
    private var removeFrom: ContinuousClock.Instant?
    private var repairs: RepairMachine

    init(settings: ClusterSettings, epoch: Int32, epochVersion: Int32, electedAt: ContinuousClock.Instant) {
        self.settings = settings
        self.paths = settings.paths
        self.epoch = epoch
        self.epochVersion = epochVersion
        self.known = KnownNodes(electedAt: electedAt)
        self.guards = ControllerGuards(settings)
        self.repairs = RepairMachine(settings: settings)
    }

    mutating func handle(_ event: Event, _ facts: Facts) -> [Effect] {
        var effects: [Effect] = []
        switch event {
        case .look: self.look(facts, &effects)
        case .replied(let operation, let result): self.replied(operation, result, facts, &effects)
        case .listed(let target, let ids): self.listed(target, ids, facts, &effects)
        case .folderIsAbsent(let folder): effects.append(.alarm(self.repairs.folderIsAbsent(folder)))
        case .reported(let report, let id): self.reported(report, by: id, facts, &effects)
        case .viewRefused: self.waitToWrite(.seconds(1), facts.now, &effects)
        }
        return effects
    }

    /// The partitions that their owners have not served for ``UnservedPartitions/patience``.
    func unservedTooLong(at now: ContinuousClock.Instant) -> [Int] { self.unserved.tooLong(at: now) }

    /// The partitions that two nodes serve under the view's owner epoch.
    func contested(in view: ClusterView, at now: ContinuousClock.Instant) -> [Int] {
        let fresh = self.contested.filter { self.known.freshReport(of: $0.key, at: now) != nil }.values.joined()
        return Set(
            fresh.filter { view.partitions.indices.contains($0.partition) && view.partitions[$0.partition].ownerEpoch == $0.ownerEpoch }.map(\.partition)
        )
        .sorted()
    }

    /// Whether the registry's entries have been read, and no entry is being read again.
    var hasGatheredNodes: Bool { self.areNodesRead && self.gatheringNodes == nil }

    // MARK: - The next view

    private mutating func look(_ facts: Facts, _ effects: inout [Effect]) {
        self.gather(facts, &effects)
        self.repair(facts, &effects)
        if let view = facts.view { self.unserved.update(view, self.known.reports, at: facts.now) }
        guard self.areMembersRead, self.areNodesRead, let configuration = facts.configuration, facts.register.mayBeReplaced else { return }
        guard facts.reads.isCurrent(.view), !self.awaitsReports(facts, &effects) else { return }
        self.evictDead(facts, &effects)
        self.removeForgotten(facts, &effects)
        guard !self.isWriting else { return }
        if let writeFrom, facts.now < writeFrom { return effects.append(.wake(at: writeFrom)) }
        self.decide(configuration, facts, &effects)
    }

    private mutating func decide(_ configuration: ClusterConfiguration, _ facts: Facts, _ effects: inout [Effect]) {
        let current =
            facts.view
            ?? ClusterView(
                version: 0, controllerEpoch: 0, writer: "", partitions: Array(repeating: .init(owner: nil, ownerEpoch: 0), count: configuration.partitionCount))
        self.guards.leaving = facts.leaving
        var evolution = ViewEvolution(
            current: current, configuration: configuration, known: self.known, guards: self.guards, ownID: self.settings.id, links: facts.links,
            settings: self.settings, now: facts.now)
        evolution.run()
        self.guards = evolution.guards
        for wake in evolution.wakes where wake > facts.now { effects.append(.wake(at: wake)) }
        for alarm in evolution.alarms { effects.append(.alarm(alarm)) }
        let register = facts.register
        let isLost = self.repairs.regrant(&evolution, from: current, register)
        guard evolution.hasChanged || isLost || register.stored == nil || register.floor.version > current.version else {
            self.invalid = nil
            return
        }
        // The reservation of these owner epochs must be on disk before they are used. When it is on disk, an event starts this function again.
        guard register.memory.covers(evolution.view.partitions.map(\.ownerEpoch).max() ?? 0) else { return }
        var next = evolution.view
        next.version = max(current.version, register.floor.version) + 1
        next.controllerEpoch = self.epoch
        self.sequence += 1
        next.writer = "\(self.settings.id)/\(facts.incarnation)/\(self.sequence)"
        next.writtenAt = self.settings.wallClock()
        self.reasons = (next.writer, evolution.reasons)
        do throws(JSONError) {
            let data = try next.json()
            let write: ZooKeeperRequest.Part =
                (register.unreadable?.stat ?? register.stored?.stat).map { .set(path: self.paths.view, data: data, version: $0) }
                ?? .create(path: self.paths.view, data: data, ephemeral: false)
            self.isWriting = true
            self.invalid = nil
            effects.append(self.fenced([write], for: .writeView(next)))
        } catch {
            self.invalid = "the next view cannot be written: \(error)"
            effects.append(.alarm("the next view cannot be written: \(error)"))
            self.waitToWrite(.seconds(1), facts.now, &effects)
        }
    }

    private mutating func waitToWrite(_ delay: Duration, _ now: ContinuousClock.Instant, _ effects: inout [Effect]) {
        self.writeFrom = now.advanced(by: delay)
        effects.append(.wake(at: now.advanced(by: delay)))
    }

    private mutating func viewWritten(
        _ view: ClusterView, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts, _ effects: inout [Effect]
    ) {
        // The reply may belong to a write under an earlier controller epoch of this node. It is ignored then.
        guard view.controllerEpoch == self.epoch else { return }
        self.isWriting = false
        switch result {
        case .success(.multi(let stats)):
            if let alarm = self.repairs.viewAlarm { effects.append(.alarm(alarm)) }
            effects.append(.wrote(view, stat: stats.last ?? nil))
        case .failure(.refused(_, part: 0)):
            effects.append(.stepDown(Self.epochRaised))
        case .failure(.refused), .success:
            effects.append(.readAgain(.view))
            self.waitToWrite(.milliseconds(50), facts.now, &effects)
        case .failure(.ambiguous), .failure(.notSent), .failure(.sessionLost):
            // The next read shows whether the view was written: `writer` in the view names the write.
            effects.append(.readAgain(.view))
            self.waitToWrite(.milliseconds(100), facts.now, &effects)
        }
    }

    static let epochRaised = "another node has raised the controller epoch"

    /// A write that ZooKeeper refuses if another controller has been elected.
    private func fenced(_ parts: [ZooKeeperRequest.Part], for operation: Operation) -> Effect {
        .perform(self.fenced(parts), for: operation)
    }

    func fenced(_ parts: [ZooKeeperRequest.Part]) -> ZooKeeperRequest {
        .multi([.check(path: self.paths.controllerEpoch, version: self.epochVersion)] + parts)
    }

    /// A new controller has only read the view, which may have been rolled back. It waits for reports from live members before it writes.
    /// A node that has announced that it leaves has released its partitions, and sends no report: publishers would wait for its partitions meanwhile.
    private func awaitsReports(_ facts: Facts, _ effects: inout [Effect]) -> Bool {
        if let since = facts.register.since, since.advanced(by: .seconds(10)) <= facts.now { return false }
        let until = self.known.electedAt.advanced(by: self.settings.reportsMax)
        let inView = facts.view?.nodes.filter { node in node.incarnation.map { !facts.leaving.contains($0) } ?? false } ?? []
        let others = Set(self.known.members.filter { !facts.leaving.contains($0.value.incarnation) }.keys).union(inView.map(\.id))
        // The cluster existed before, but its view is missing in ZooKeeper. The controller waits for nodes that know the view.
        if facts.view == nil, !facts.hasFounded, facts.now < until {
            effects.append(.wake(at: until))
            return true
        }
        // A process whose port is closed, or that has had no link for a while, cannot report.
        let missing = others.filter { id in
            guard id != self.settings.id, self.known.reports[id] == nil else { return false }
            guard let reach = facts.links[id], !reach.isUp else { return true }
            return reach.refusedSince == nil && !reach.isUnreachable(for: self.settings.unreachableMin, at: facts.now)
        }
        let isBehind = facts.register.newerVersions.contains { $0.value > facts.register.version }
        guard facts.now < until, !missing.isEmpty || isBehind else { return false }
        let unreachableFrom = missing.compactMap { facts.links[$0].flatMap { $0.isUp ? nil : $0.since.advanced(by: self.settings.unreachableMin) } }
        effects.append(.wake(at: min(until, unreachableFrom.min() ?? until)))
        return true
    }

    // MARK: - Members

    private mutating func listed(_ target: RegistryReads.Target, _ ids: [String], _ facts: Facts, _ effects: inout [Effect]) {
        self.repairs.folderIsThere(target)
        let known = Set(ids.filter(NodeID.isValid)).sorted()
        if target == .members {
            self.gatheringMembers = Gathering(queue: known)
        } else {
            self.gatheringNodes = Gathering(queue: known)
        }
        self.gather(facts, &effects)
    }

    private mutating func gather(_ facts: Facts, _ effects: inout [Effect]) {
        for id in self.gatheringMembers?.next(at: facts.now) ?? [] {
            effects.append(.perform(.get(path: self.paths.member(id), watch: true), for: .readMember(id)))
        }
        for id in self.gatheringNodes?.next(at: facts.now) ?? [] {
            effects.append(.perform(.get(path: self.paths.node(id), watch: true), for: .readNode(id)))
        }
        for wake in [self.gatheringMembers?.notBefore, self.gatheringNodes?.notBefore] {
            if let wake, wake > facts.now { effects.append(.wake(at: wake)) }
        }
        if self.gatheringMembers?.isComplete ?? false { self.finishMembers(facts) }
        if self.gatheringNodes?.isComplete ?? false { self.finishNodes() }
    }

    private mutating func gathered(_ id: String, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts, _ effects: inout [Effect]) {
        guard self.gatheringMembers?.open.remove(id) != nil else { return }
        switch result {
        case .success(.node(let data, let stat)):
            do throws(JSONError) {
                self.gatheringMembers!.found[id] = Member(record: try MemberRecord(json: data), incarnation: stat.czxid)
            } catch {
                self.gatheringMembers!.found[id] = self.repairs.knownMember(id, stat.czxid, self.known.members[id], facts.view)
                effects.append(
                    .alarm("\(self.paths.member(id)) cannot be read: \(error). That node writes the znode again. If no such node runs, delete the znode"))
            }
        case .failure(.refused(.noNode, _)): break
        case .success, .failure:
            // With an incomplete list, the members that are missing in it would lose their partitions.
            self.gatheringMembers!.failed(id, at: facts.now)
        }
        self.gather(facts, &effects)
    }

    private mutating func gatheredNode(_ id: String, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts, _ effects: inout [Effect]) {
        guard self.gatheringNodes?.open.remove(id) != nil else { return }
        switch result {
        case .success(.node(let data, let stat)):
            do throws(JSONError) {
                self.gatheringNodes!.found[id] = NodeEntry(record: try NodeRecord(json: data), version: stat.version)
            } catch {
                self.nodeIsUnreadable(id, stat, error, facts.view, &effects)
            }
        case .failure(.refused(.noNode, _)): break
        case .success, .failure:
            self.gatheringNodes!.failed(id, at: facts.now)
        }
        self.gather(facts, &effects)
    }

    private mutating func finishMembers(_ facts: Facts) {
        let found = self.gatheringMembers?.found ?? [:]
        self.gatheringMembers = nil
        if self.areMembersRead, found.contains(where: { self.known.members[$0]?.incarnation != $1.incarnation }) { self.guards.debounce.joined(at: facts.now) }
        // Only reports of present members count in a majority.
        self.known.reports = self.known.reports.filter { id, received in found[id]?.incarnation == received.report.incarnation }
        self.contested = self.contested.filter { self.known.reports[$0.key] != nil }
        self.guards.prune(found, facts.view)
        self.known.members = found
        self.areMembersRead = true
    }

    private mutating func finishNodes() {
        self.known.entries = self.gatheringNodes?.found ?? [:]
        self.removing.formIntersection(self.known.entries.keys)
        self.gatheringNodes = nil
        self.areNodesRead = true
    }

    // MARK: - Reports

    private mutating func reported(_ report: NodeReport, by id: String, _ facts: Facts, _ effects: inout [Effect]) {
        if id != self.settings.id, let alarm = report.alarm, self.known.reports[id]?.report.alarm != alarm {
            // The controller also records other nodes' alarms, because operators look at the controller's events.
            effects.append(.reported(alarm: alarm, by: id, viewVersion: report.viewVersion))
        }
        self.known.reports[id] = KnownNodes.Received(report: report, at: facts.now)
        self.checkContested(report, of: id, facts, &effects)
    }

    /// Raises an alarm if two nodes report that they serve a partition under the same owner epoch. This must never happen.
    ///
    /// Checks only partitions that the view does not grant to the reporting node. The node's own partitions are checked when another node reports them.
    private mutating func checkContested(_ report: NodeReport, of id: String, _ facts: Facts, _ effects: inout [Effect]) {
        guard let view = facts.view else { return }
        let others = Set(
            report.serving.filter { owned in
                guard view.partitions.indices.contains(owned.partition) else { return true }
                let entry = view.partitions[owned.partition]
                return entry.owner != id || entry.ownerEpoch != owned.ownerEpoch
            })
        self.contested[id] = nil
        guard !others.isEmpty else { return }
        for other in self.known.reports.keys.sorted() where other != id {
            let shared = self.known.freshReport(of: other, at: facts.now)?.serving.filter(others.contains) ?? []
            guard !shared.isEmpty else { continue }
            self.contested[id, default: []] += shared
            // The alarm does not list the partitions. They may change with each report, and an alarm with another text is recorded again. `status` lists them.
            let pair = [id, other].sorted().joined(separator: " and ")
            effects.append(.alarm("partitions are served by two nodes under one owner epoch, \(pair): stop one of the two immediately"))
        }
    }

    // MARK: - Replies

    private mutating func replied(
        _ operation: Operation, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ facts: Facts, _ effects: inout [Effect]
    ) {
        switch operation {
        case .readMember(let id): self.gathered(id, result, facts, &effects)
        case .readNode(let id): self.gatheredNode(id, result, facts, &effects)
        case .writeView(let view): self.viewWritten(view, result, facts, &effects)
        case .clear(let id):
            effects.append(.readAgain(.nodes))
            if self.hasToRepeat(result, facts.now, &effects) { self.removing.remove(id) }
        case .evict(let process):
            effects.append(.readAgain(.members))
            if self.hasToRepeat(result, facts.now, &effects) { self.guards.evicting.remove(process.incarnation) }
        case .repair(let path):
            effects.append(.markDirty(path))
            switch result {
            case .success: self.repairs.replied(path, hasFailed: false, at: facts.now)
            case .failure(.refused(_, part: 0)): effects.append(.stepDown(Self.epochRaised))
            case .failure: self.repairs.replied(path, hasFailed: true, at: facts.now)
            }
        }
    }

    /// Whether a removal has to be repeated. The next attempt waits a moment, so that refused removals do not load the servers.
    private mutating func hasToRepeat(
        _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ now: ContinuousClock.Instant, _ effects: inout [Effect]
    ) -> Bool {
        switch result {
        case .success, .failure(.refused(.noNode, _)): return false
        case .failure(.refused(_, part: 0)):
            effects.append(.stepDown(Self.epochRaised))
            return false
        case .failure:
            self.removeFrom = now.advanced(by: .milliseconds(200))
            return true
        }
    }

    // MARK: - Removals

    /// Removes the registry entries of forgotten nodes that are no longer in the view. Otherwise the registry would grow without a limit.
    private mutating func removeForgotten(_ facts: Facts, _ effects: inout [Effect]) {
        if let removeFrom, facts.now < removeFrom { return effects.append(.wake(at: removeFrom)) }
        for (id, entry) in self.known.entries.sorted(by: { $0.key < $1.key })
        where entry.record.desired == .removed && self.known.members[id] == nil && facts.view?.node(id) == nil && !self.removing.contains(id) {
            self.removing.insert(id)
            effects.append(self.fenced([.delete(path: self.paths.node(id), version: entry.version)], for: .clear(id)))
        }
    }

    /// Removes the member znodes of processes with a closed port, so that their partitions do not wait until the sessions end. If such a process is alive, its
    /// partitions move, but no event is lost: the log refuses later commits of the old owner.
    private mutating func evictDead(_ facts: Facts, _ effects: inout [Effect]) {
        if let removeFrom, facts.now < removeFrom { return effects.append(.wake(at: removeFrom)) }
        for (id, member) in self.known.members.sorted(by: { $0.key < $1.key })
        where id != self.settings.id && !self.guards.evicting.contains(member.incarnation) {
            guard let reach = facts.links[id], reach.incarnation == member.incarnation, let since = reach.refusedSince else { continue }
            let due = since.advanced(by: self.settings.refusedMin)
            guard facts.now >= due else {
                effects.append(.wake(at: due))
                continue
            }
            // A node that was never reached may be alive with a wrong link address. If there are witnesses, one of them must also report a closed port.
            guard let node = facts.view?.node(id), node.incarnation == member.incarnation, node.state.mayOwn else { continue }
            // A joining node without a report is not a witness, because it may be unreachable itself.
            let witnesses = self.known.members.keys.filter { other in
                other != id && other != self.settings.id
                    && (facts.view?.node(other)?.state != .joining || self.known.freshReport(of: other, at: facts.now) != nil)
            }
            let agree = witnesses.contains { other in
                self.known.freshReport(of: other, at: facts.now)?.refused.contains(.init(id: id, incarnation: member.incarnation)) ?? false
            }
            guard witnesses.isEmpty || agree else {
                effects.append(.wake(at: facts.now.advanced(by: self.settings.reportInterval)))
                continue
            }
            self.guards.evicting.insert(member.incarnation)
            effects.append(
                .record(.evicted, about: id, "\(id) refuses connections: incarnation \(member.incarnation) is dead, and its member znode is removed"))
            effects.append(self.fenced([.delete(path: self.paths.member(id), version: nil)], for: .evict(ProcessID(id: id, incarnation: member.incarnation))))
        }
    }

    // MARK: - Repairs

    /// Writes lost and damaged znodes again if this node knows their content.
    private mutating func repair(_ facts: Facts, _ effects: inout [Effect]) {
        if self.areNodesRead, let alarm = self.repairs.restoreDesired(&self.known.entries, facts.register) { effects.append(.alarm(alarm)) }
        let record = facts.damagedController.map { _ in
            ControllerRecord.json(
                ProcessID(id: self.settings.id, incarnation: facts.incarnation), epoch: self.epoch, epochVersion: self.epochVersion, link: self.settings.link,
                api: self.settings.api)
        }
        let (writes, wake) = self.repairs.next(self.hasGatheredNodes ? self.known.entries : [:], record: record, facts)
        for (path, part) in writes { effects.append(self.fenced([part], for: .repair(path))) }
        if let wake { effects.append(.wake(at: wake)) }
    }

    private mutating func nodeIsUnreadable(
        _ id: String, _ stat: ZooKeeperStat, _ failure: JSONError, _ view: ClusterView?, _ effects: inout [Effect]
    ) {
        let entry = self.repairs.knownEntry(self.known.entries[id], version: stat.version, view?.node(id))
        self.gatheringNodes!.found[id] = entry
        let advice = entry.isDamaged ? "the controller writes it again" : "realertime drain, cordon or uncordon \(id) writes it again"
        effects.append(.alarm("\(self.paths.node(id)) cannot be read: \(failure). \(id) counts as \(entry.record.desired.rawValue); \(advice)"))
    }
}

extension ControllerMachine {
    /// Reads the znodes of a listing, with a limited number of requests in flight.
    struct Gathering<Value: Sendable>: Sendable {
        /// The limit of requests in flight. It is below the session's limit (``ZooKeeperRegistry/inFlightMax``), so that other operations are possible.
        static var openMax: Int { 64 }

        /// Names that have not been requested, or whose request failed.
        var queue: [String]
        /// Names whose request has no reply.
        var open: Set<String> = []
        var found: [String: Value] = [:]
        /// After a failure, the earliest time of the next request.
        var notBefore: ContinuousClock.Instant?

        init(queue: [String]) { self.queue = queue }

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
}
