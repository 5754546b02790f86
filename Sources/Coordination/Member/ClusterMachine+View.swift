import AdminAPI
import JSON

extension ClusterMachine {
    mutating func viewAbsent(_ turn: inout Turn) {
        self.recall(unless: nil, &turn)
        self.viewRead = nil
        self.unreadableView = nil
    }

    /// The register as ZooKeeper has it.
    mutating func viewRead(_ data: [UInt8], _ stat: ZooKeeperStat, _ turn: inout Turn) {
        let candidate: ClusterView
        do throws(JSONFailure) {
            candidate = try ClusterView(json: data)
        } catch {
            return self.viewIsUnreadable(data, stat, error, &turn)
        }
        self.unreadableView = nil
        self.recall(unless: candidate.version, &turn)
        // A session never sees its servers go back, so an older view than it has shown before is a server that lost what it had acknowledged.
        if let read = self.viewRead, candidate.version < read.version {
            self.raise("ZooKeeper lost writes: its view went back from version \(read.version) to \(candidate.version); this node keeps the newer", &turn)
        }
        self.checkAge(candidate, &turn)
        self.viewRead = (candidate.version, stat.version)
        self.accept(candidate, from: "ZooKeeper", &turn)
    }

    /// A new session may be served by a server that lags a moment. One that still shows an older view after that has lost writes.
    private mutating func checkAge(_ candidate: ClusterView, _ turn: inout Turn) {
        guard let view = self.view, candidate.version < view.version else {
            self.olderSince = nil
            return
        }
        // Of a new session, which may have come to another server than the last, nothing is known yet.
        let since = self.viewRead == nil ? turn.now : self.olderSince ?? turn.now
        self.olderSince = since
        guard turn.now < since.advanced(by: .seconds(1)) else {
            return self.raise(
                "ZooKeeper lost writes: it shows version \(candidate.version) of the view, after \(view.version); this node keeps the newer", &turn)
        }
        self.reads[.view]?.isDirty = true
        self.reads[.view]?.notBefore = turn.now.advanced(by: .seconds(1))
    }

    /// Takes a view over if it is newer than the one this node has. Answers whether it did.
    @discardableResult
    mutating func accept(_ candidate: ClusterView, from source: String, _ turn: inout Turn) -> Bool {
        self.floor.see(candidate)
        defer { self.leaveOldEpoch(&turn) }
        self.recall(unless: candidate.version, &turn)
        guard let seen = self.view else {
            self.viewSince = turn.now
            self.adopt(candidate, &turn)
            return true
        }
        // A peer's may be late, and so may a read that was under way while a peer's newer one came.
        guard candidate.version >= seen.version else { return false }
        if let regression = seen.regression(in: candidate) {
            self.raise("a view from \(source) is refused: \(regression)", &turn)
            for node in candidate.nodes {
                if let desired = node.desired, desired.revision > self.lostDesired[node.id]?.revision ?? 0 { self.lostDesired[node.id] = desired }
            }
            return false
        }
        guard candidate.version > seen.version else { return false }
        self.adopt(candidate, &turn)
        return true
    }

    mutating func adopt(_ view: ClusterView, _ turn: inout Turn) {
        var reasons = ViewReasons()
        if let (writer, known) = self.leader?.reasons, writer == view.writer { reasons = known }
        let at = self.settings.wallClock()
        for event in ClusterEvent.changes(from: self.view, to: view, reasons, at: at) { self.note(event, &turn) }
        if let old = self.view { for event in self.transfers.take(from: old, to: view, reasons, at: at) { self.note(event, &turn) } }
        self.view = view
        // Of a node that was forgotten nothing is lost.
        self.lostDesired = self.lostDesired.filter { id, desired in view.node(id).map { $0.desired?.revision ?? 0 < desired.revision } ?? false }
    }

    /// ZooKeeper has lost epochs under which views were written: nobody would take what is written under this one. The next election goes beyond them.
    private mutating func leaveOldEpoch(_ turn: inout Turn) {
        guard let leader = self.leader, self.floor.controllerEpoch > leader.epoch else { return }
        if let controller = self.controller, controller.epoch == leader.epoch {
            self.depose(controller, "there is a view of controller epoch \(self.floor.controllerEpoch), and this one is \(leader.epoch)", &turn)
        }
        self.stepDown("there is a view of controller epoch \(self.floor.controllerEpoch)", &turn)
    }

    mutating func raise(_ message: String, _ turn: inout Turn) {
        self.alarmedAt = turn.now
        self.alarm = message
        // One that comes again and again, or in turn with another, is told once.
        guard !self.alarmsTold.contains(message) else { return }
        if self.alarmsTold.count >= 16 { self.alarmsTold.removeFirst() }
        self.alarmsTold.append(message)
        self.record(.alarm, message, &turn)
    }

    mutating func expireAlarm(_ turn: inout Turn) {
        guard let until = self.alarmedAt?.advanced(by: self.settings.alarmMin) else { return }
        guard turn.now >= until else { return turn.wake(at: until) }
        self.alarm = nil
        self.alarmedAt = nil
        self.alarmsTold = []
    }

    // MARK: - What happened

    /// - Parameter node: what it is about, if that is not this node.
    mutating func record(_ kind: ClusterEvent.Kind, about node: String? = nil, _ text: String, _ turn: inout Turn) {
        self.note(
            ClusterEvent(kind: kind, at: self.settings.wallClock(), node: node ?? self.settings.id, viewVersion: self.view?.version ?? 0, text: text), &turn)
    }

    /// What an operator requested, and why.
    mutating func record(_ request: AdminRequest, _ outcome: String?, _ turn: inout Turn) {
        let by = request.by ?? ""
        let note = request.note ?? ""
        let text = request.sentence + (by.isEmpty ? "" : " by \(by)") + (note.isEmpty ? "" : ": \(note)") + (outcome.map { " (\($0))" } ?? "")
        var event = ClusterEvent(
            kind: .operation, at: self.settings.wallClock(), node: request.node ?? "", viewVersion: self.view?.version ?? 0, text: text)
        event.by = by
        event.note = note
        self.note(event, &turn)
    }

    mutating func note(_ event: ClusterEvent, _ turn: inout Turn) {
        turn.actions.append(.log(self.history.append(event)))
    }

    // MARK: - Peers

    /// Links go to whoever the view names as alive; the controller's also to members that are not in the view yet.
    mutating func reconcilePeers(_ turn: inout Turn) {
        guard let incarnation = self.incarnation else { return }
        var peers: [String: Peer] = [:]
        for node in self.view?.nodes ?? [] {
            if let other = node.incarnation, !node.link.isEmpty { peers[node.id] = Peer(id: node.id, incarnation: other, link: node.link) }
        }
        if let leader = self.leader {
            for (id, member) in leader.members { peers[id] = Peer(id: id, incarnation: member.incarnation, link: member.record.link) }
        }
        if let controller = self.controller, let link = controller.link, peers[controller.id]?.incarnation != controller.incarnation {
            peers[controller.id] = Peer(id: controller.id, incarnation: controller.incarnation, link: link)
        }
        peers[self.settings.id] = nil
        let sorted = peers.values.sorted { $0.id < $1.id }
        let version = self.view?.version ?? 0
        if let sent = self.peersSent, sent.peers == sorted, sent.incarnation == incarnation, sent.viewVersion == version { return }
        self.peersSent = (sorted, incarnation, version)
        self.links = self.links.filter { id, reach in peers[id]?.incarnation == reach.incarnation }
        turn.actions.append(.peers(sorted, incarnation: incarnation, viewVersion: version))
    }

    mutating func linkDown(_ id: String, _ incarnation: Int64, _ isRefused: Bool, _ reason: String?, _ turn: inout Turn) {
        if let reach = self.links[id], reach.incarnation == incarnation, !reach.isUp {
            // The time of the first refusal counts, and of the first silence.
            self.links[id]!.refusedSince = isRefused ? reach.refusedSince ?? turn.now : nil
            self.links[id]!.reason = reason
        } else {
            self.links[id] = LinkReach(incarnation: incarnation, isUp: false, since: turn.now, refusedSince: isRefused ? turn.now : nil, reason: reason)
        }
        turn.wake(at: turn.now.advanced(by: self.settings.refusedMin))
    }

    mutating func peerView(_ id: String, _ version: Int64, _ turn: inout Turn) {
        self.named[id] = version
        // At once, and not only a second after the last.
        if version > self.view?.version ?? 0 { self.pulledAt = nil }
    }

    /// Asks for newer views until they have come: a question, or its answer, may be lost with a link.
    mutating func reconcilePulls(_ turn: inout Turn) {
        let version = self.view?.version ?? 0
        self.named = self.named.filter { $0.value > version }
        guard !self.named.isEmpty else { return }
        if let due = self.pulledAt?.advanced(by: .seconds(1)), turn.now < due { return turn.wake(at: due) }
        let asked = self.named.keys.sorted().filter { self.links[$0]?.isUp ?? false }
        guard !asked.isEmpty else { return }
        for id in asked { self.send(.pull, to: id, &turn) }
        self.pulledAt = turn.now
        turn.wake(at: turn.now.advanced(by: .seconds(1)))
    }
}

/// What one node knows of its own link to a peer.
package struct LinkReach: Hashable, Sendable {
    package var incarnation: Int64
    package var isUp: Bool
    package var since: ContinuousClock.Instant
    /// Since when the peer's port is closed, which a live process would not do.
    package var refusedSince: ContinuousClock.Instant?
    /// Why it is down, for people.
    package var reason: String?
}
