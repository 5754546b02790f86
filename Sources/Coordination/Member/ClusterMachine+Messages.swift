import AdminAPI
import JSON
import Partitioning

extension ClusterMachine {
    mutating func send(_ message: ClusterMessage, to id: String, _ turn: inout Turn) {
        do throws(JSONFailure) {
            turn.actions.append(.send(to: id, payload: try message.payload()))
        } catch {
            self.raise("a message to \(id) cannot be written: \(error)", &turn)
        }
    }

    /// To everyone that has a link. Who misses it hears of its version by heartbeat, and from ZooKeeper.
    mutating func push(_ view: ClusterView, _ turn: inout Turn) {
        guard let payload = try? ClusterMessage.view(view).payload() else { return }
        for (id, reach) in self.links.sorted(by: { $0.key < $1.key }) where reach.isUp { turn.actions.append(.send(to: id, payload: payload)) }
    }

    mutating func received(_ payload: [UInt8], from id: String, _ incarnation: Int64, _ turn: inout Turn) {
        let message: ClusterMessage
        do throws(JSONFailure) {
            guard let known = try ClusterMessage(payload) else { return }
            message = known
        } catch {
            return self.raise("a message from \(id) cannot be read: \(error)", &turn)
        }
        if let controller = self.controller, controller.id == id, controller.incarnation == incarnation { self.complaints.heard(controller, at: turn.now) }
        switch message {
        case .view(let view):
            self.accept(view, from: id, &turn)
        case .pull:
            if let view = self.view { self.send(.view(view), to: id, &turn) }
        case .report(let report):
            guard var leader = self.leader, report.incarnation == incarnation else { return }
            if let alarm = report.alarm, leader.reports[id]?.report.alarm != alarm {
                // Raised there, and told where people look.
                self.note(ClusterEvent(kind: .alarm, at: self.settings.wallClock(), node: id, viewVersion: report.viewVersion, text: alarm), &turn)
            }
            leader.reports[id] = Leader.Received(report: report, at: turn.now)
            self.election = .leading(leader)
            self.checkContested(report, of: id, &turn)
            self.send(.heard, to: id, &turn)
            // It has seen a newer view than ZooKeeper has shown here: one that was lost there, or is on its way.
            if report.viewVersion > self.view?.version ?? 0 { self.peerView(id, report.viewVersion, &turn) }
        case .heard:
            break
        case .configuration(let candidate):
            guard self.isController, let known = self.configuration, known.isOfSameCluster(as: candidate), candidate.revision > known.revision else { return }
            self.configuration = candidate
            self.reads[.configuration]?.isDirty = true
        case .complaint(let epoch):
            self.complaints.received(from: id, incarnation, epoch: epoch, at: turn.now)
        case .leaving:
            let incarnations = Set(self.view?.nodes.compactMap(\.incarnation) ?? []).union(self.leader?.members.values.map(\.incarnation) ?? [])
            self.leaving.formIntersection(incarnations)
            self.leaving.insert(incarnation)
        case .request(let number, let request):
            self.handle(request, .peer(id, number: number), &turn)
        case .response(let number, let response):
            guard let pending = self.pendingRequests.removeValue(forKey: number) else { return }
            // It may not be the controller any more, and this node has not heard of the next one.
            let why = "\(id) was asked as the controller, and cannot respond as one."
            let isRead = !pending.request.kind.changes && response.error?.code.isUnavailable ?? false
            let own = isRead ? self.localResponse(to: pending.request, at: turn.now, whyAlone: why) : nil
            self.reply(own ?? response, to: pending.from, &turn)
        }
    }

    // MARK: - Reports

    func report(at now: ContinuousClock.Instant, incarnation: Int64) -> NodeReport {
        var report = NodeReport(incarnation: incarnation, viewVersion: self.view?.version ?? 0)
        for (partition, held) in self.ownership.sorted(by: { $0.key < $1.key }) {
            let owned = Grant(partition: partition, ownerEpoch: held.ownerEpoch)
            switch held.state {
            case .granted, .sealing: report.preparing += 1
            case .serving: report.serving.append(owned)
            case .sealed: report.sealed.append(owned)
            }
        }
        for (id, reach) in self.links.sorted(by: { $0.key < $1.key }) {
            let peer = ProcessID(id: id, incarnation: reach.incarnation)
            if reach.isUp { report.reached.append(peer) }
            if reach.refusedSince != nil { report.refused.append(peer) }
            if !reach.isUp, now >= reach.since.advanced(by: self.settings.unreachableMin) { report.unreachable.append(peer) }
        }
        report.session = self.session.phase.name
        report.figures = self.figures
        report.alarm = self.alarm
        return report
    }

    /// Tells the controller how this node is: what decides hand-overs at once, the rest once a second.
    mutating func reconcileReport(_ turn: inout Turn) {
        guard let incarnation = self.incarnation else { return }
        let isOwn = self.isController
        guard isOwn || self.controller.map({ self.links[$0.id]?.isUp ?? false }) ?? false else { return }
        let due = self.lastReport.map { $0.at.advanced(by: self.settings.reportInterval) } ?? turn.now
        let urgent = self.urgentContent
        guard turn.now >= due || self.lastReport?.content != urgent else { return turn.wake(at: due) }
        self.lastReport = (turn.now, urgent)
        let report = self.report(at: turn.now, incarnation: incarnation)
        if var leader = self.leader {
            leader.reports[self.settings.id] = Leader.Received(report: report, at: turn.now)
            self.election = .leading(leader)
            self.checkContested(report, of: self.settings.id, &turn)
        } else if let controller = self.controller {
            self.send(.report(report), to: controller.id, &turn)
            // The controller may know no newer one than ZooKeeper.
            if let configuration = self.configuration, let fault = self.configurationFault, !fault.isNewer {
                self.send(.configuration(configuration), to: controller.id, &turn)
            }
        }
        // The controller's own report, too, may be what its next look waits for.
        turn.wake(at: turn.now.advanced(by: isOwn && !report.sealed.isEmpty ? .milliseconds(1) : self.settings.reportInterval))
    }

    /// A digest of what the controller waits for.
    private var urgentContent: [UInt8] {
        var digest: [UInt8] = []
        var hash: UInt64 = 14_695_981_039_346_656_037
        func mix(_ value: UInt64) { hash = (hash ^ value) &* 1_099_511_628_211 }
        for (partition, held) in self.ownership.sorted(by: { $0.key < $1.key }) {
            mix(UInt64(partition))
            mix(UInt64(bitPattern: held.ownerEpoch))
            mix(UInt64(held.state == .sealed ? 1 : held.state == .serving ? 2 : 3))
        }
        for (id, reach) in self.links.sorted(by: { $0.key < $1.key }) {
            for byte in id.utf8 { mix(UInt64(byte)) }
            mix((reach.isUp ? 1 : 0) | (reach.refusedSince != nil ? 2 : 0))
        }
        if let controller = self.controller { mix(UInt64(bitPattern: controller.incarnation)) }
        withUnsafeBytes(of: hash) { digest.append(contentsOf: $0) }
        return digest
    }
}
