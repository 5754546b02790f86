/// A view has room for so many nodes, and one with more could not be written: then nobody's partitions would be granted on.
extension ViewEvolution {
    /// Nodes that are down and that nobody has wished anything for. Where ids are made anew with each start, as in containers, most that ever were are down for
    /// ever; so many are shown, and those before them forgotten.
    static let downMax = 200

    /// They own nothing. The oldest go first, which are those with the least incarnation: it was given to them when they came. One that went down under an
    /// earlier controller has none that this one knows, and is older than all that it has seen go.
    mutating func forgetDown(beyond count: Int) {
        let down = self.view.nodes.filter { $0.state == .down && self.leader.nodes[$0.id] == nil }
        guard down.count > count else { return }
        let sorted = down.map { (incarnation: self.guards.counted[$0.id] ?? 0, id: $0.id) }.sorted { $0 < $1 }
        let forgotten = Set(sorted.prefix(down.count - count).map(\.id))
        self.view.nodes.removeAll { forgotten.contains($0.id) }
        for id in forgotten { self.reasons.nodes[id] = "one of too many that are down" }
    }

    /// Whether there is room for one node more, after the oldest that is down was forgotten for it.
    mutating func makeRoom() -> Bool {
        if self.view.nodes.count < ClusterView.nodeCountMax { return true }
        self.forgetDown(beyond: max(0, self.view.nodes.count { $0.state == .down && self.leader.nodes[$0.id] == nil } - 1))
        return self.view.nodes.count < ClusterView.nodeCountMax
    }

    /// What an operator is to know of those for whom there is none.
    var alarm: String? {
        guard let first = self.refused.first else { return nil }
        return "there is no room for \(first)\(self.refused.count > 1 ? " and \(self.refused.count - 1) others" : ""): a cluster has at most "
            + "\(ClusterView.nodeCountMax) nodes, those included that are expected and down (realertime forget)"
    }
}
