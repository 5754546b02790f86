import Partitioning

extension ClusterMachine {
    /// Looks in a report for what another node says it serves, too, under the same owner epoch. That must not happen, so nobody waits until an operator asks.
    ///
    /// What the view grants a node is its own, and whoever else has it is found by his report. So only the rest is compared with what the others say: nothing, or
    /// what a node has not heard yet that it lost.
    mutating func checkContested(_ report: NodeReport, of id: String, _ turn: inout Turn) {
        guard let view = self.view, let leader = self.leader else { return }
        let others = Set(
            report.serving.filter { owned in
                guard view.partitions.indices.contains(owned.partition) else { return true }
                let entry = view.partitions[owned.partition]
                return entry.owner != id || entry.ownerEpoch != owned.ownerEpoch
            })
        guard !others.isEmpty else { return }
        for other in leader.reports.keys.sorted() where other != id {
            guard let serving = leader.freshReport(of: other, at: turn.now)?.serving, serving.contains(where: others.contains) else { continue }
            // Without the partitions, which are others in each report: it is to be told once, and status names them.
            let pair = [id, other].sorted().joined(separator: " and ")
            self.raise("partitions are served by two nodes under one owner epoch, \(pair): stop one of the two at once", &turn)
        }
    }
}
