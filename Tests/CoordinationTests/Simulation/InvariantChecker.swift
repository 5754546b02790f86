@testable import Coordination

/// Checks the invariants of ownership for every view that is written and every partition that is served. Keeps the first violation.
///
/// - I1: under one owner epoch, a partition has one owner, and one process serves it.
/// - I2: the owner epoch of a partition never goes back.
/// - I7: a process that has stopped serving a partition under an owner epoch does not serve it under that epoch again.
struct InvariantChecker {
    private struct Key: Hashable {
        var partition: Int
        var ownerEpoch: Int64
    }

    private struct Finished: Hashable {
        var key: Key
        var process: Int
    }

    private(set) var problem: String?
    /// The node that got each grant.
    private var owners: [Key: String] = [:]
    /// The process that got each grant.
    private var granted: [Key: Int] = [:]
    /// The process that has served each grant.
    private var servers: [Key: Int] = [:]
    private var finished: Set<Finished> = []
    /// The highest owner epoch under which each partition was ever granted, including grants in views that the register has lost.
    private var highest: [Int: Int64] = [:]
    /// The view that was written last. Nil if the register was rolled back after this write.
    private var last: ClusterView?
    private(set) var writes = 0
    private(set) var grants = 0

    mutating func fail(_ text: String) { if self.problem == nil { self.problem = text } }

    /// Checks I1 and I2 for all views that were ever written.
    ///
    /// - Parameters:
    ///   - before: the view that the new view replaces in the register.
    ///   - processes: the running process of each node.
    mutating func wrote(_ view: ClusterView, after before: ClusterView?, _ processes: [String: Int]) {
        self.writes += 1
        if let last = self.last {
            if view.version <= last.version { self.fail("view \(view.version) was written after view \(last.version)") }
            if view.controllerEpoch < last.controllerEpoch { self.fail("controller epoch \(view.controllerEpoch) was written after \(last.controllerEpoch)") }
            for (index, (old, new)) in zip(last.partitions, view.partitions).enumerated() where new.ownerEpoch < old.ownerEpoch {
                self.fail("I2: partition \(index) went from owner epoch \(old.ownerEpoch) to \(new.ownerEpoch)")
            }
        }
        for (index, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner else { continue }
            let key = Key(partition: index, ownerEpoch: entry.ownerEpoch)
            if let other = self.owners[key], other != owner {
                self.fail("I1: partition \(index) is granted under owner epoch \(entry.ownerEpoch) to \(other) and \(owner)")
            }
            if self.owners.updateValue(owner, forKey: key) == nil { self.grants += 1 }
            let replaced = before.flatMap { $0.partitions.indices.contains(index) ? $0.partitions[index] : nil }
            guard replaced?.owner != owner || replaced?.ownerEpoch != entry.ownerEpoch, let process = processes[owner] else { continue }
            if let other = self.granted.updateValue(process, forKey: key), other != process {
                self.fail("partition \(index) is granted twice under owner epoch \(entry.ownerEpoch), to processes \(other) and \(process)")
            }
            let highest = self.highest[index] ?? 0
            if entry.ownerEpoch < highest {
                self.fail("I2: partition \(index) is granted under owner epoch \(entry.ownerEpoch), after owner epoch \(highest)")
            }
            self.highest[index] = max(highest, entry.ownerEpoch)
        }
        self.last = view
    }

    /// The register was rolled back, and no process knows the lost writes. The next view may have a lower version than a lost view. Partitions that the next
    /// view does not grant may keep lower owner epochs. New grants are still checked against all earlier grants.
    mutating func registerWasRolledBack() { self.last = nil }

    /// Checks I1 and I7 for a process that serves a partition.
    mutating func serves(_ partition: Int, _ ownerEpoch: Int64, process: Int) {
        let key = Key(partition: partition, ownerEpoch: ownerEpoch)
        if let other = self.servers[key], other != process {
            self.fail("I1: partition \(partition) is served under owner epoch \(ownerEpoch) by processes \(other) and \(process)")
        }
        self.servers[key] = process
        if self.finished.contains(Finished(key: key, process: process)) {
            self.fail("I7: process \(process) serves partition \(partition) again under owner epoch \(ownerEpoch)")
        }
    }

    /// The servers end a session. The node must have stopped serving, because the controller grants its partitions to other nodes. A paused process and a
    /// hanging coordinator cannot react, so they are not checked.
    mutating func expires(_ node: SimulatedNode?, _ session: Int64) {
        // With a log that fences, the node continues to serve until the log or a newer view ends its grants.
        guard let node, node.simulation.log == nil, node.isAlive, !node.isPaused, !node.isHung, node.session == session, let partition = node.serving.keys.min()
        else { return }
        self.fail("\(node.id) serves partition \(partition) after its session \(session) has ended")
    }

    mutating func finished(_ partition: Int, _ ownerEpoch: Int64, process: Int) {
        self.finished.insert(Finished(key: Key(partition: partition, ownerEpoch: ownerEpoch), process: process))
    }
}
