extension ClusterView {
    /// Performs a plan that was made from this view: drops the cancelled moves, grants the orphans, lists the new moves. The writer raises the version.
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

    /// Ends a move: its target becomes the owner under the next epoch.
    package mutating func finishMove(of partition: Int) {
        guard let move = self.partitions[partition].move else { return }
        self.grant(partition, to: move.to)
    }
}
