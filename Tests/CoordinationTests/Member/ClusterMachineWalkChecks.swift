import Partitioning

@testable import Coordination

/// The checks after every step.
extension ClusterMachineWalk {
    mutating func check() {
        let machine = self.bench.machine
        if machine.incarnation != nil { self.hasJoined = true }
        if machine.session.pending.count > 60 { self.fail("\(machine.session.pending.count) operations are pending") }
        if machine.admin.forwarded.count > 40 { self.fail("\(machine.admin.forwarded.count) requests are open") }
        if machine.history.count >= 3 * (ClusterHistory.countMax + 100) { self.fail("the history has \(machine.history.count) events") }
        if !self.bench.refusals.isEmpty { self.fail("refused: \(self.bench.refusals)") }
        self.checkView(machine)
        self.checkOwnership(machine)
        self.checkWake(machine)
        self.checkRequests(machine)
    }

    private mutating func checkView(_ machine: ClusterMachine) {
        if let last = self.lastView {
            guard let view = machine.view else { return self.fail("the view is gone") }
            if let regression = last.regression(in: view) { self.fail("\(regression)") }
        }
        self.lastView = machine.view
    }

    private mutating func checkOwnership(_ machine: ClusterMachine) {
        let view = machine.view
        for (partition, held) in machine.ownership {
            let owned = Grant(partition: partition, ownerEpoch: held.ownerEpoch)
            let old = self.before[partition].flatMap { $0.ownerEpoch == held.ownerEpoch ? $0.state : nil }
            switch (old, held.state) {
            case (nil, .sealing), (.sealing, .sealing), (.sealing, .serving), (.serving, .serving), (.serving, .sealed), (.sealed, .sealed): break
            // With prompt storage, a partition may take several steps in one event of this walk.
            // The log may refuse a grant at any time.
            case (.sealing, .sealed), (.sealing, .reclaiming), (.serving, .reclaiming), (.sealed, .reclaiming), (.reclaiming, .reclaiming): break
            case (nil, .serving), (nil, .sealed): if !self.bench.isStoragePrompt { fallthrough }
            default: self.fail("partition \(partition) went from \(String(describing: old)) to \(held.state) under owner epoch \(held.ownerEpoch)")
            }
            if let last = self.before[partition]?.ownerEpoch, last > held.ownerEpoch {
                self.fail("partition \(partition) went back to owner epoch \(held.ownerEpoch)")
            }
            // A partition that was released under an owner epoch is never served under it again.
            let hasEnded = held.state == .sealed || held.state == .reclaiming
            if self.finished.contains(owned), !hasEnded { self.fail("partition \(partition) serves again under owner epoch \(held.ownerEpoch)") }
            if hasEnded { self.finished.insert(owned) }
            // With a log that fences, a grant ends only with a newer one.
            let isGranted = view?.partitions[partition].owner == "n1" && machine.incarnation != nil
            let isKept = self.isLogFencing && ["n1", nil].contains(view?.partitions[partition].owner)
            if !(isGranted || isKept) || view?.partitions[partition].ownerEpoch != held.ownerEpoch {
                self.fail("partition \(partition) is held under owner epoch \(held.ownerEpoch), but the view does not grant it")
            }
        }
        for (partition, held) in self.before where machine.ownership[partition]?.ownerEpoch != held.ownerEpoch {
            self.finished.insert(Grant(partition: partition, ownerEpoch: held.ownerEpoch))
            if !self.bench.releases.contains(.init(partition: partition, ownerEpoch: held.ownerEpoch)) {
                self.fail("partition \(partition) is gone without a release")
            }
        }
        self.before = machine.ownership
    }

    /// A connected machine must always wait for a reply or for a wake. Otherwise it would wait forever.
    private mutating func checkWake(_ machine: ClusterMachine) {
        guard self.connection == .up else { return }
        guard self.bench.open.isEmpty else { return }
        guard let wake = self.bench.wake else { return self.fail("no operation is pending, and no wake is scheduled") }
        if wake > self.bench.now.advanced(by: machine.settings.rereadInterval) { self.fail("the next wake is too late") }
    }

    private mutating func checkRequests(_ machine: ClusterMachine) {
        if machine.admin.forwarded.values.contains(where: { $0.until <= self.bench.now }) { self.fail("a request is still open after its deadline") }
        for case .respond(let number, _) in self.bench.effects {
            if self.pending.remove(number) == nil { self.fail("request \(number) has two responses") }
        }
    }
}
