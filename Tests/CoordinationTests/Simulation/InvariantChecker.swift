@testable import Coordination

/// What must never be, over everything that is written and served.
struct InvariantChecker {
    private(set) var problem: String?
    private var owners: [[Int64]: String] = [:]
    /// Each grant, by the process that the owner was then.
    private var granted: [[Int64]: Int] = [:]
    private var servers: [[Int64]: Int] = [:]
    private var finished: Set<[Int64]> = []
    private var last: ClusterView?
    private(set) var writes = 0
    private(set) var grants = 0

    mutating func fail(_ text: String) { if self.problem == nil { self.problem = text } }

    /// I1 and I2, over every view that was ever written; `before` is what the register had.
    mutating func wrote(_ view: ClusterView, after before: ClusterView?, _ processes: [String: Int]) {
        self.writes += 1
        if let last = self.last {
            if view.version <= last.version { self.fail("view \(view.version) after \(last.version)") }
            if view.controllerEpoch < last.controllerEpoch { self.fail("controller epoch \(view.controllerEpoch) after \(last.controllerEpoch)") }
            for (index, (old, new)) in zip(last.partitions, view.partitions).enumerated() where new.ownerEpoch < old.ownerEpoch {
                self.fail("I2: partition \(index) went from owner epoch \(old.ownerEpoch) to \(new.ownerEpoch)")
            }
        }
        for (index, entry) in view.partitions.enumerated() {
            guard let owner = entry.owner else { continue }
            let key = [Int64(index), entry.ownerEpoch]
            if let before = self.owners[key], before != owner {
                self.fail("I1: partition \(index) under owner epoch \(entry.ownerEpoch) to \(before) and \(owner)")
            }
            if self.owners.updateValue(owner, forKey: key) == nil { self.grants += 1 }
            let last = before.flatMap { $0.partitions.indices.contains(index) ? $0.partitions[index] : nil }
            guard last?.owner != owner || last?.ownerEpoch != entry.ownerEpoch, let process = processes[owner] else { continue }
            if let other = self.granted.updateValue(process, forKey: key), other != process {
                self.fail("partition \(index) is granted twice under owner epoch \(entry.ownerEpoch), to processes \(other) and \(process)")
            }
        }
        self.last = view
    }

    /// The register was set back: what is written from now on is judged against what was granted, not against the last view.
    mutating func wasSetBack() { self.last = nil }

    /// One process serves a partition under an owner epoch, ever; and not again after it has finished.
    mutating func serves(_ partition: Int, _ ownerEpoch: Int64, process: Int) {
        let key = [Int64(partition), ownerEpoch]
        if let before = self.servers[key], before != process {
            self.fail("I1: partition \(partition) is served under owner epoch \(ownerEpoch) by processes \(before) and \(process)")
        }
        self.servers[key] = process
        if self.finished.contains([Int64(process), Int64(partition), ownerEpoch]) {
            self.fail("I7: process \(process) serves partition \(partition) again under owner epoch \(ownerEpoch)")
        }
    }

    /// Others are granted its partitions from now on. A process that is held knows nothing of that, and one whose coordinator hangs cannot act on it.
    mutating func expires(_ node: SimulatedNode?, _ session: Int64) {
        guard let node, node.isAlive, !node.isPaused, !node.isHung, node.session == session, let partition = node.serving.keys.min() else { return }
        self.fail("\(node.id) serves partition \(partition) after its session \(session) is over")
    }

    mutating func finished(_ partition: Int, _ ownerEpoch: Int64, process: Int) { self.finished.insert([Int64(process), Int64(partition), ownerEpoch]) }
}
