extension ClusterView {
    /// Applies a plan that was computed from this view: removes the cancelled moves, grants the orphans, and adds the new moves. The caller raises the version.
    ///
    /// A move's id consists of the next version and the partition, so it is unique.
    package mutating func apply(_ plan: Plan) {
        for partition in plan.cancels { self.partitions[partition].move = nil }
        for grant in plan.grants { self.grant(grant.partition, to: grant.to) }
        for move in plan.moves {
            let id = ((self.version &+ 1) % (1 << 46)) << 16 | Int64(move.partition)
            self.partitions[move.partition].move = Move(id: id, to: move.to, reason: move.reason)
        }
    }

    /// Completes a move: its target becomes the owner under the next owner epoch.
    package mutating func finishMove(of partition: Int) {
        guard let move = self.partitions[partition].move else { return }
        self.grant(partition, to: move.to)
    }
}
