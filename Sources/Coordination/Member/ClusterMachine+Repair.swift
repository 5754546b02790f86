import AdminAPI
import JSON

/// What is done when a znode of the cluster is gone, or has something else than what was written there.
///
/// The controller writes again what it knows, under its epoch; each node writes its own member znode again. What no node knows is an alarm that says what to do.
extension ClusterMachine {
    struct ConfigurationFault: Hashable, Sendable {
        /// Of the znode: it is written over only as it was read.
        var version: Int32
        /// A newer version of the program wrote it, so this one leaves it alone.
        var isNewer = false
    }

    struct ConfigurationAbsence: Hashable, Sendable {
        var since: ContinuousClock.Instant
    }

    struct ControllerFault: Hashable, Sendable {
        var version: Int32
        /// This node is the controller.
        var isOwn: Bool
        /// When nodes that are not the controller remove it.
        var due: ContinuousClock.Instant
    }

    struct UnreadableView: Hashable, Sendable {
        var stat: Int32
        /// A newer version of the program may have written it.
        var isNewer: Bool
    }

    var ownProtocols: String { "this version \(self.settings.protocols.lowerBound) to \(self.settings.protocols.upperBound)" }

    // MARK: - Configuration

    mutating func configurationRead(_ data: [UInt8], _ stat: ZooKeeperStat, _ turn: inout Turn) {
        self.configurationAbsent = nil
        let candidate: ClusterConfiguration
        do throws(JSONFailure) {
            candidate = try ClusterConfiguration(json: data)
        } catch {
            return self.configurationIsUnreadable(data, stat, error, &turn)
        }
        if let known = self.configuration, !known.isOfSameCluster(as: candidate) {
            return self.configurationIsForeign(candidate, known, stat, &turn)
        }
        self.configurationVersion = stat.version
        self.configurationCreated = stat.czxid
        if let known = self.configuration, candidate.revision < known.revision {
            self.configurationFault = ConfigurationFault(version: stat.version)
            return self.raise(
                "ZooKeeper lost writes: \(self.paths.configuration) went back from revision \(known.revision) to \(candidate.revision), and is written again: \(known.requests)",
                &turn)
        }
        self.configurationFault = nil
        self.configuration = candidate
        if self.wasMember, !self.settings.protocols.contains(candidate.activeProtocol) { self.raiseNewerProtocol(candidate.activeProtocol, &turn) }
    }

    private mutating func raiseNewerProtocol(_ number: Int, _ turn: inout Turn) {
        self.raise(
            "\(self.paths.configuration) asks for protocol \(number), \(self.ownProtocols): this node continues, and is refused when it is started again. "
                + "Upgrade it, or set activeProto back", &turn)
    }

    private mutating func configurationIsUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONFailure, _ turn: inout Turn) {
        if let number = ClusterConfiguration.activeProtocol(in: data), number > self.settings.protocols.upperBound {
            guard self.wasMember else {
                return self.refuse("the cluster speaks protocol \(number), \(self.ownProtocols): upgrade this node", &turn)
            }
            self.configurationFault = ConfigurationFault(version: stat.version, isNewer: true)
            return self.raiseNewerProtocol(number, &turn)
        }
        self.configurationFault = ConfigurationFault(version: stat.version)
        self.raise(
            "\(self.paths.configuration) cannot be read: \(failure). "
                + (self.configuration != nil
                    ? "The controller writes it again as this node knows it"
                    : "A controller that knows it writes it again; if no node does, delete it, and the next node that starts makes it from the view"),
            &turn)
    }

    /// Channels would be looked for where they are not, so a node of one cluster is never a member of another.
    private mutating func configurationIsForeign(
        _ candidate: ClusterConfiguration, _ known: ClusterConfiguration, _ stat: ZooKeeperStat, _ turn: inout Turn
    ) {
        // In the same znode, of the same session, it is damage. In another one, other nodes have made another cluster.
        guard stat.czxid == self.configurationCreated else {
            return self.refuse(
                "ZooKeeper has another cluster at \(self.paths.root) than the one this node belongs to: \(candidate.identity), and not \(known.identity). "
                    + "If ZooKeeper was emptied by mistake, stop the other cluster's nodes, delete \(self.paths.root), and start this node first; "
                    + "if the other cluster is the right one, delete cluster.json in this node's data folder and start it again", &turn)
        }
        self.configurationFault = ConfigurationFault(version: stat.version)
        self.raise(
            "\(self.paths.configuration) was set to another cluster's, \(candidate.identity), and this is \(known.identity): the controller writes it again as this node knows it",
            &turn)
    }

    mutating func configurationIsAbsent(_ turn: inout Turn) {
        self.configurationCreated = nil
        self.configurationFault = nil
        if self.configurationAbsent == nil { self.configurationAbsent = ConfigurationAbsence(since: turn.now) }
        guard !self.pending.values.contains(where: { $0 == .createConfiguration || $0 == .inspectView }) else { return }
        if self.configuration != nil {
            if self.wasMember {
                self.raise("ZooKeeper lost the cluster's configuration: it is written again as this node knows it", &turn)
            }
            // What else is gone comes back with it, before a node that starts takes this for the place of a new cluster.
            for (index, request) in self.paths.foundations.enumerated() where self.wasMember { self.perform(request, for: .foundation(index), &turn) }
            return self.createConfiguration(&turn)
        }
        // A cluster that has a view is not new: its nodes know what it was.
        self.perform(.get(path: self.paths.view, watch: false), for: .inspectView, &turn)
    }

    mutating func inspectedView(_ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        guard let absence = self.configurationAbsent else { return }
        switch result {
        case .failure(.refused(.noNode, _)):
            self.createConfiguration(&turn)
        case .success(.node(let data, _)):
            let view = try? ClusterView(json: data)
            if let view, turn.now >= absence.since.advanced(by: .seconds(5)) { return self.createConfiguration(partitionCount: view.partitions.count, &turn) }
            self.raise(
                "ZooKeeper lost \(self.paths.configuration): a node that was a member writes it again. "
                    + (view != nil
                        ? "If none does within 5 seconds, this node makes it from the view"
                        : "If no such node can be started, delete \(self.paths.view), which cannot be read either, and a new cluster is made"),
                &turn)
            self.readAgain(.configuration, in: .seconds(1), &turn)
        case .success, .failure:
            self.readAgain(.configuration, in: .milliseconds(200), &turn)
        }
    }

    // MARK: - View

    mutating func viewIsUnreadable(_ data: [UInt8], _ stat: ZooKeeperStat, _ failure: JSONFailure, _ turn: inout Turn) {
        self.recall(unless: nil, &turn)
        self.unreadableView = UnreadableView(stat: stat.version, isNewer: ClusterView.isVersioned(data))
        self.raise("the view in ZooKeeper cannot be read, ownership stays as it is: \(failure). \(self.adviceOnView)", &turn)
    }

    /// Bytes that are no view are written over by a controller that knows one. What a newer version of the program may have written is left to an operator.
    var mayReplaceView: Bool { self.unreadableView.map { !$0.isNewer && self.view != nil } ?? true }

    var adviceOnView: String {
        if self.unreadableView?.isNewer ?? false {
            return "If a newer version of this program wrote it, upgrade this node; if not, delete \(self.paths.view), and the controller writes what it knows"
        }
        return self.view != nil
            ? "The controller writes again what it knows"
            : "Start a node that was a member; if there is none, delete \(self.paths.view), and the controller makes a new one"
    }

    // MARK: - Controller and its epoch

    mutating func controllerIsUnreadable(_ stat: ZooKeeperStat, _ turn: inout Turn) {
        let isOwn = stat.ephemeralOwner == self.sessionID
        let isLeading = self.isController && isOwn
        // Its session lives, and its owner writes it again.
        let patience: Duration = isOwn || stat.ephemeralOwner == 0 ? .zero : .seconds(3)
        if self.controllerFault?.version != stat.version {
            self.controllerFault = ControllerFault(
                version: stat.version, isOwn: isLeading, due: turn.now.advanced(by: patience + .milliseconds(Int(200 * turn.jitter))))
        }
        self.raise(
            "\(self.paths.controller) cannot be read: "
                + (isLeading
                    ? "this node is the controller and writes it again"
                    : "the controller writes it again; if it does not within 3 seconds, it is deleted, and a controller is elected"),
            &turn)
        if self.isController, !isOwn { self.stepDown("\(self.paths.controller) belongs to another session", &turn) }
    }

    /// Whether no node can be elected because the controller's znode is damaged. Removes it when its time is over.
    mutating func awaitsControllerRepair(_ turn: inout Turn) -> Bool {
        guard let fault = self.controllerFault, !self.isController else { return false }
        guard turn.now >= fault.due else {
            turn.wake(at: fault.due)
            return true
        }
        if self.isCurrent(.controller), !self.pending.values.contains(.depose) {
            self.record(.deposed, "\(self.paths.controller) cannot be read: it is removed", &turn)
            self.perform(.delete(path: self.paths.controller, version: fault.version), for: .depose, &turn)
        }
        return true
    }

    /// The number that the next election counts on from. Its znode's version fences, so a lost number only has to be above those of all views.
    mutating func controllerEpoch(_ data: [UInt8], _ turn: inout Turn) -> Int32? {
        if let epoch = Int32(String(decoding: data, as: UTF8.self)), (0...Int32.max - Int32(ClusterView.room)).contains(epoch) { return epoch }
        let text = "\(self.paths.controllerEpoch) is \(String(decoding: data.prefix(20), as: UTF8.self).debugDescription), and not a number to count on from"
        guard self.isCurrent(.view), self.mayReplaceView else {
            self.raise("\(text): no node can be elected before the view can be read, or before it is set to \(self.floor.controllerEpoch)", &turn)
            return nil
        }
        self.raise("\(text): the next controller's epoch is above that of the newest view, \(self.floor.controllerEpoch)", &turn)
        return self.floor.controllerEpoch
    }

    mutating func controllerEpochIsAbsent(_ turn: inout Turn) {
        guard self.isCurrent(.view) else { return self.waitToElect(.milliseconds(200), &turn) }
        self.raise("ZooKeeper lost \(self.paths.controllerEpoch): it is made again with the epoch of the newest view, \(self.floor.controllerEpoch)", &turn)
        self.perform(
            .create(path: self.paths.controllerEpoch, data: Array(String(self.floor.controllerEpoch).utf8), ephemeral: false), for: .createEpoch, &turn)
    }

    /// Everything is written under the version of that znode: without it this controller can do nothing more.
    mutating func controllerEpochRead(_ stat: ZooKeeperStat?, _ turn: inout Turn) {
        guard let leader = self.leader, let askedAt = self.reads[.controllerEpoch]?.askedAt, askedAt >= leader.electedAt, stat?.version != leader.epochVersion
        else { return }
        if stat == nil { self.raise("ZooKeeper lost \(self.paths.controllerEpoch): a controller is elected again, which makes it again", &turn) }
        self.stepDown(stat == nil ? "\(self.paths.controllerEpoch) is gone" : "\(self.paths.controllerEpoch) was changed", &turn)
    }

    // MARK: - What the controller writes again

    mutating func folderIsAbsent(_ target: ReadTarget, _ turn: inout Turn) {
        guard self.isController else { return }
        self.absent.insert(target)
        self.raise("ZooKeeper lost \(target == .nodes ? self.paths.nodes : self.paths.members): the controller makes it again", &turn)
    }

    /// A node whose member znode cannot be read, as it was known.
    func knownMember(_ id: String, _ incarnation: Int64, _ leader: Leader) -> Leader.Member? {
        if let member = leader.members[id], member.incarnation == incarnation { return member }
        guard let node = self.view?.node(id), node.incarnation == incarnation else { return nil }
        return Leader.Member(
            record: MemberRecord(
                link: node.link, api: node.api, zone: node.zone, weight: node.weight, version: node.version, protocols: self.settings.protocols, nonce: "",
                startedAt: 0), incarnation: incarnation)
    }

    /// The operator who changed it did not want the node to be given partitions: it stays as it was, or counts as cordoned.
    mutating func nodeIsUnreadable(_ id: String, _ stat: ZooKeeperStat, _ failure: JSONFailure, _ leader: inout Leader, _ turn: inout Turn) {
        let known = leader.nodes[id]?.record ?? self.view?.node(id)?.desired
        let record = known ?? NodeRecord(desired: .cordoned)
        leader.gatheringNodes!.found[id] = Leader.NodeEntry(record: record, version: stat.version, isDamaged: known != nil)
        self.raise(
            "\(self.paths.node(id)) cannot be read: \(failure). \(id) counts as \(record.desired.rawValue); "
                + (known != nil ? "the controller writes it again" : "realertime drain, cordon or uncordon \(id) writes it again"), &turn)
    }

    mutating func repairTree(_ leader: inout Leader, _ turn: inout Turn) {
        for target in [ReadTarget.members, .nodes] where self.absent.contains(target) && self.isCurrent(target) {
            let path = target == .nodes ? self.paths.nodes : self.paths.members
            self.repair(path, .create(path: path, data: [], ephemeral: false), &leader, &turn)
        }
        if let fault = self.configurationFault, !fault.isNewer, let configuration = self.configuration, self.isCurrent(.configuration) {
            let path = self.paths.configuration
            self.repair(path, .set(path: path, data: configuration.json, version: fault.version), &leader, &turn)
        }
        if let fault = self.controllerFault, fault.isOwn, let incarnation = self.incarnation, self.isCurrent(.controller) {
            let record = ControllerRecord.json(
                id: self.settings.id, incarnation: incarnation, epoch: leader.epoch, epochVersion: leader.epochVersion, link: self.settings.link,
                api: self.settings.api)
            self.repair(self.paths.controller, .set(path: self.paths.controller, data: record, version: fault.version), &leader, &turn)
        }
        guard leader.areNodesRead, leader.gatheringNodes == nil, self.isCurrent(.nodes) else { return }
        self.findLostDesired(&leader, &turn)
        for (id, entry) in leader.nodes.sorted(by: { $0.key < $1.key }) where entry.isDamaged {
            let path = self.paths.node(id)
            let part: ZooKeeperRequest.Part =
                entry.version.map { .set(path: path, data: entry.record.json, version: $0) } ?? .create(path: path, data: entry.record.json, ephemeral: false)
            self.repair(path, part, &leader, &turn)
        }
    }

    /// What operators had requested by the newest views, and ZooKeeper does not know any more.
    private mutating func findLostDesired(_ leader: inout Leader, _ turn: inout Turn) {
        var lost: [String] = []
        func compare(_ id: String, _ remembered: NodeRecord) {
            if let entry = leader.nodes[id], entry.record.revision >= remembered.revision { return }
            // Its entry is removed once it is forgotten; a node that came meanwhile is a new one.
            if remembered.desired == .removed, leader.nodes[id] == nil { return }
            leader.nodes[id] = Leader.NodeEntry(record: remembered, version: leader.nodes[id]?.version, isDamaged: true)
            lost.append("\(id) is to be \(remembered.desired.rawValue), \(remembered.request)")
        }
        for node in self.view?.nodes ?? [] { if let desired = node.desired { compare(node.id, desired) } }
        for (id, desired) in self.lostDesired.sorted(by: { $0.key < $1.key }) { compare(id, desired) }
        guard !lost.isEmpty else { return }
        let more = lost.count > 5 ? ", and \(lost.count - 5) more" : ""
        self.raise("ZooKeeper lost what operators had requested: \(lost.prefix(5).joined(separator: "; "))\(more). The controller writes it again", &turn)
    }

    private mutating func repair(_ path: String, _ part: ZooKeeperRequest.Part, _ leader: inout Leader, _ turn: inout Turn) {
        if let from = leader.repairFrom, turn.now < from { return turn.wake(at: from) }
        guard leader.repairing.insert(path).inserted else { return }
        self.perform(.multi([.check(path: self.paths.controllerEpoch, version: leader.epochVersion), part]), for: .repair(path), &turn)
    }

    mutating func repaired(_ path: String, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ leader: inout Leader, _ turn: inout Turn) {
        leader.repairing.remove(path)
        self.markDirty([path])
        switch result {
        case .success: break
        case .failure(.refused(_, part: 0)): self.stepDown("another node has raised the controller epoch", &turn)
        // What the servers refuse is not repeated as fast as they answer.
        case .failure: leader.repairFrom = turn.now.advanced(by: .seconds(1))
        }
    }

    /// Whether it has been read, and nothing is known to have changed since.
    private func isCurrent(_ target: ReadTarget) -> Bool {
        self.reads[target].map { $0.readAt != nil && !$0.isDirty && !$0.isAsked } ?? false
    }
}
