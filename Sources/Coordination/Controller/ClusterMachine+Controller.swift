import AdminAPI
import JSON
import Partitioning

extension ClusterMachine {
    /// One look at everything, and the next view if it should be another. Every write is fenced by the controller epoch and by the view it was made from.
    mutating func reconcileController(_ turn: inout Turn) {
        guard self.isConnected, var leader = self.leader, !self.isLeaving else { return }
        defer { if self.isController { self.election = .leading(leader) } }
        self.gatherMore(&leader, &turn)
        self.repairTree(&leader, &turn)
        self.decideHeld(&leader, &turn)
        if let view = self.view { leader.findUnserved(view, at: turn.now) }
        guard leader.areMembersRead, leader.areNodesRead, let configuration = self.configuration, self.mayReplaceView else { return }
        guard let read = self.reads[.view], read.readAt != nil, !read.isDirty, !read.isAsked else { return }
        guard !self.awaitsReports(leader, &turn) else { return }
        self.evictDead(&leader, &turn)
        self.removeForgotten(&leader, &turn)
        guard !leader.isWriting else { return }
        if let notBefore = leader.notBefore, turn.now < notBefore { return turn.wake(at: notBefore) }

        let current =
            self.view
            ?? ClusterView(
                version: 0, controllerEpoch: 0, writer: "", partitions: Array(repeating: .init(owner: nil, ownerEpoch: 0), count: configuration.partitionCount))
        leader.guards.leaving = self.leaving
        var evolution = ViewEvolution(
            current: current, configuration: configuration, leader: leader, ownID: self.settings.id, links: self.links, settings: self.settings, now: turn.now)
        evolution.run()
        leader.guards = evolution.guards
        for wake in evolution.wakes where wake > turn.now { turn.wake(at: wake) }
        if let alarm = evolution.alarm { self.raise(alarm, &turn) }
        // A register that lost writes is written again, as this node knows it, under owner epochs that nobody has had.
        let isLost = self.unreadableView != nil || self.viewRead.map { $0.version < current.version } ?? (self.view != nil)
        if isLost { evolution.regrantAll() }
        evolution.rise(above: self.floor, reserved: self.memory.reservedAtStart)
        guard evolution.hasChanged || isLost || self.viewRead == nil || self.floor.version > current.version else {
            leader.invalid = nil
            return
        }
        // Before they are used, the disk has to say that they are: written, it sends an event.
        guard self.memory.covers(evolution.view.partitions.map(\.ownerEpoch).max() ?? 0) else { return }
        var next = evolution.view
        next.version = max(current.version, self.floor.version) + 1
        next.controllerEpoch = leader.epoch
        leader.sequence += 1
        next.writer = "\(self.settings.id)/\(self.incarnation ?? 0)/\(leader.sequence)"
        next.writtenAt = self.settings.wallClock()
        leader.reasons = (next.writer, evolution.reasons)
        do throws(JSONFailure) {
            let data = try next.json()
            let check = ZooKeeperRequest.Part.check(path: self.paths.controllerEpoch, version: leader.epochVersion)
            let write: ZooKeeperRequest.Part =
                (self.unreadableView?.stat ?? self.viewRead?.stat).map { .set(path: self.paths.view, data: data, version: $0) }
                ?? .create(path: self.paths.view, data: data, ephemeral: false)
            leader.isWriting = true
            leader.invalid = nil
            // What there is when the answer comes may be newer.
            leader.lost = isLost && current.version > 0 ? (self.unreadableView == nil ? self.viewRead?.version ?? 0 : 0, current.version) : nil
            self.perform(.multi([check, write]), for: .writeView(next), &turn)
        } catch {
            self.raise("the next view cannot be written: \(error)", &turn)
            leader.invalid = "the next view cannot be written: \(error)"
            leader.notBefore = turn.now.advanced(by: .seconds(1))
            turn.wake(at: leader.notBefore!)
        }
    }

    /// Why this node could not write a view, were it the controller.
    var obstacle: String? {
        self.mayReplaceView ? self.leader?.invalid : "the view in ZooKeeper cannot be read; \(self.adviceOnView)"
    }

    /// A process that has only just come knows the register alone, and that may have lost writes: it hears first what those know who were there, if any live.
    private func awaitsReports(_ leader: Leader, _ turn: inout Turn) -> Bool {
        if let since = self.viewSince, since.advanced(by: .seconds(10)) <= turn.now { return false }
        let until = leader.electedAt.advanced(by: self.settings.reportsMax)
        let others = Set(leader.members.keys).union(self.view?.nodes.filter { $0.incarnation != nil }.map(\.id) ?? [])
        // The cluster is not new, and has lost its view: those that know it have to join again.
        if self.view == nil, !self.hasFounded, turn.now < until {
            turn.wake(at: until)
            return true
        }
        // A closed port has nothing to tell.
        let isUnheard = others.contains { $0 != self.settings.id && leader.reports[$0] == nil && self.links[$0]?.refusedSince == nil }
        let isBehind = self.named.contains { $0.value > self.view?.version ?? 0 }
        guard turn.now < until, isUnheard || isBehind else { return false }
        turn.wake(at: until)
        return true
    }

    /// The entries of nodes that were forgotten, and are gone from the view: the registry is not to grow for ever.
    private mutating func removeForgotten(_ leader: inout Leader, _ turn: inout Turn) {
        if let from = leader.removeFrom, turn.now < from { return turn.wake(at: from) }
        for (id, entry) in leader.nodes.sorted(by: { $0.key < $1.key })
        where entry.record.desired == .removed && leader.members[id] == nil && self.view?.node(id) == nil && !leader.removing.contains(id) {
            leader.removing.insert(id)
            self.perform(
                .multi([
                    .check(path: self.paths.controllerEpoch, version: leader.epochVersion),
                    .delete(path: self.paths.node(id), version: entry.version),
                ]), for: .change(.clear(id)), &turn)
        }
    }

    /// Removes the member nodes of processes whose port is closed, so that nobody waits for their sessions to end. They are fenced: what they would still
    /// commit is refused, so a wrong guess costs a move and no event.
    private mutating func evictDead(_ leader: inout Leader, _ turn: inout Turn) {
        if let from = leader.removeFrom, turn.now < from { return turn.wake(at: from) }
        for (id, member) in leader.members.sorted(by: { $0.key < $1.key }) where id != self.settings.id && !leader.guards.evicting.contains(member.incarnation)
        {
            guard let reach = self.links[id], reach.incarnation == member.incarnation, let since = reach.refusedSince else { continue }
            let due = since.advanced(by: self.settings.refusedMin)
            guard turn.now >= due else {
                turn.wake(at: due)
                continue
            }
            // One that was never reached has its link wrong, and is not dead. And where there is another, it has to see the same.
            guard let node = self.view?.node(id), node.incarnation == member.incarnation, node.state.mayOwn else { continue }
            // One that only joins is no witness: it may be the one that no other node can reach.
            let witnesses = leader.members.keys.filter { other in
                other != id && other != self.settings.id
                    && (self.view?.node(other)?.state != .joining || leader.freshReport(of: other, at: turn.now) != nil)
            }
            let agree = witnesses.contains { other in
                leader.freshReport(of: other, at: turn.now)?.refused.contains(.init(id: id, incarnation: member.incarnation)) ?? false
            }
            guard witnesses.isEmpty || agree else {
                turn.wake(at: turn.now.advanced(by: self.settings.reportInterval))
                continue
            }
            leader.guards.evicting.insert(member.incarnation)
            self.record(.evicted, about: id, "\(id) refuses connections: incarnation \(member.incarnation) is dead, its member node is removed", &turn)
            self.perform(
                .multi([
                    .check(path: self.paths.controllerEpoch, version: leader.epochVersion),
                    .delete(path: self.paths.member(id), version: nil),
                ]), for: .change(.evict(id, incarnation: member.incarnation)), &turn)
        }
    }

    mutating func controllerAnswered(_ purpose: Purpose, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ turn: inout Turn) {
        guard var leader = self.leader else { return }
        switch purpose {
        case .readMember(let id):
            self.gathered(id, result, in: &leader, &turn)
        case .readNode(let id):
            self.gatheredNode(id, result, in: &leader, &turn)
        case .writeView(let view):
            // An answer to what was written in a former leadership.
            guard view.controllerEpoch == leader.epoch else { return }
            leader.isWriting = false
            self.viewWritten(view, result, &leader, &turn)
        case .change(let change):
            self.changed(change, result, &leader, &turn)
        case .repair(let path):
            self.repaired(path, result, &leader, &turn)
        case .foundation, .createConfiguration, .inspectView, .register, .inspectMember, .deletePredecessor, .repairMember, .withdraw, .read, .readEpoch,
            .createEpoch, .elect, .depose:
            break
        }
        if self.isController { self.election = .leading(leader) }
    }

    private mutating func viewWritten(
        _ view: ClusterView, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, _ leader: inout Leader, _ turn: inout Turn
    ) {
        switch result {
        case .success(.multi(let stats)):
            if let lost = leader.lost {
                let found = lost.read > 0 ? "its view went back from version \(lost.known) to \(lost.read)" : "its view of version \(lost.known) was gone"
                self.raise("ZooKeeper lost writes: \(found); it was written again", &turn)
            }
            self.unreadableView = nil
            // A created node has version 0, and a multi does not carry its stat.
            self.viewRead = (view.version, stats.last.flatMap { $0?.version } ?? 0)
            // ZooKeeper has told the others, and one of them was faster than its answer to this node.
            let isKnown = self.view?.version == view.version
            if self.accept(view, from: "this node", &turn) || isKnown {
                self.push(view, &turn)
            } else {
                // A peer's newer view came meanwhile, or the rules refuse this one. The next look is at what there is now, and not at once.
                leader.notBefore = turn.now.advanced(by: .seconds(1))
                turn.wake(at: leader.notBefore!)
            }
        case .failure(.refused(_, part: 0)):
            self.stepDown("another one has raised the controller epoch", &turn)
        case .failure(.refused), .success:
            self.reads[.view]?.isDirty = true
            leader.notBefore = turn.now.advanced(by: .milliseconds(50))
        case .failure(.ambiguous), .failure(.notSent), .failure(.sessionLost):
            // Whether it was written is read back: its writer is this node then, and the version is known.
            self.reads[.view]?.isDirty = true
            leader.notBefore = turn.now.advanced(by: .milliseconds(100))
        }
    }

    // MARK: - Who is there

    mutating func listed(_ target: ReadTarget, _ ids: [String], _ turn: inout Turn) {
        guard var leader = self.leader else { return }
        let known = Set(ids.filter(NodeID.isValid)).sorted()
        if target == .members {
            leader.gatheringMembers = Leader.Gathering(queue: known)
        } else {
            leader.gatheringNodes = Leader.Gathering(queue: known)
        }
        self.gatherMore(&leader, &turn)
        self.election = .leading(leader)
    }

    private mutating func gatherMore(_ leader: inout Leader, _ turn: inout Turn) {
        for id in leader.gatheringMembers?.next(at: turn.now) ?? [] {
            self.perform(.get(path: self.paths.member(id), watch: true), for: .readMember(id), &turn)
        }
        for id in leader.gatheringNodes?.next(at: turn.now) ?? [] { self.perform(.get(path: self.paths.node(id), watch: true), for: .readNode(id), &turn) }
        for wake in [leader.gatheringMembers?.notBefore, leader.gatheringNodes?.notBefore] { if let wake, wake > turn.now { turn.wake(at: wake) } }
        if leader.gatheringMembers?.isComplete ?? false { self.finishMembers(&leader, &turn) }
        if leader.gatheringNodes?.isComplete ?? false { self.finishNodes(&leader) }
    }

    private mutating func gathered(_ id: String, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, in leader: inout Leader, _ turn: inout Turn) {
        guard leader.gatheringMembers?.open.remove(id) != nil else { return }
        switch result {
        case .success(.node(let data, let stat)):
            do throws(JSONFailure) {
                leader.gatheringMembers!.found[id] = Leader.Member(record: try MemberRecord(json: data), incarnation: stat.czxid)
            } catch {
                // The node itself writes it again, if it lives.
                leader.gatheringMembers!.found[id] = self.knownMember(id, stat.czxid, leader)
                self.raise("\(self.paths.member(id)) cannot be read: \(error). The node writes it again; if no such node runs, delete it", &turn)
            }
        case .failure(.refused(.noNode, _)): break
        case .success, .failure:
            // Half a list would take partitions from those that are not on it.
            leader.gatheringMembers!.failed(id, at: turn.now)
        }
        self.gatherMore(&leader, &turn)
    }

    private mutating func finishMembers(_ leader: inout Leader, _ turn: inout Turn) {
        let found = leader.gatheringMembers?.found ?? [:]
        leader.gatheringMembers = nil
        let isFirst = !leader.areMembersRead
        for (id, member) in found where leader.members[id]?.incarnation != member.incarnation {
            if !isFirst { leader.guards.debounce.joined(at: turn.now) }
        }
        // Only those who are there are counted in any majority.
        leader.reports = leader.reports.filter { id, received in found[id]?.incarnation == received.report.incarnation }
        leader.guards.prune(found, self.view)
        leader.members = found
        leader.areMembersRead = true
    }

    private mutating func gatheredNode(_ id: String, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, in leader: inout Leader, _ turn: inout Turn) {
        guard leader.gatheringNodes?.open.remove(id) != nil else { return }
        switch result {
        case .success(.node(let data, let stat)):
            do throws(JSONFailure) {
                leader.gatheringNodes!.found[id] = Leader.NodeEntry(record: try NodeRecord(json: data), version: stat.version)
            } catch {
                self.nodeIsUnreadable(id, stat, error, &leader, &turn)
            }
        case .failure(.refused(.noNode, _)): break
        case .success, .failure:
            leader.gatheringNodes!.failed(id, at: turn.now)
        }
        self.gatherMore(&leader, &turn)
    }

    private func finishNodes(_ leader: inout Leader) {
        leader.nodes = leader.gatheringNodes?.found ?? [:]
        leader.removing.formIntersection(leader.nodes.keys)
        leader.gatheringNodes = nil
        leader.areNodesRead = true
    }
}
