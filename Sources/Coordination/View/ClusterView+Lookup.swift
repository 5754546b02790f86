extension ClusterView {
    package func node(_ id: String) -> Node? { self.nodes.first { $0.id == id } }

    package func nodeIndex(_ id: String) -> Int? { self.nodes.firstIndex { $0.id == id } }

    /// The partitions that this node owns, in order. Partitions that are moving to it are not included.
    package func partitions(ownedBy id: String) -> [Int] { self.partitions.indices.filter { self.partitions[$0].owner == id } }

    /// The partitions without an owner, in order.
    package var orphans: [Int] { self.partitions.indices.filter { self.partitions[$0].owner == nil } }

    /// The partitions with a handoff in progress, in order.
    package var moving: [Int] { self.partitions.indices.filter { self.partitions[$0].move != nil } }

    /// Adds a node in the order of ids, or replaces the node with the same id.
    package mutating func upsert(_ node: Node) {
        let index = self.nodes.firstIndex { $0.id >= node.id } ?? self.nodes.count
        if index < self.nodes.count, self.nodes[index].id == node.id {
            self.nodes[index] = node
        } else {
            self.nodes.insert(node, at: index)
        }
    }

    /// Makes this node the owner under the next owner epoch, which fences the previous owner. Ends the partition's move.
    package mutating func grant(_ partition: Int, to id: String) {
        self.partitions[partition].owner = id
        self.partitions[partition].ownerEpoch += 1
        self.partitions[partition].move = nil
    }

    /// Makes the partitions of a node orphans, and ends the moves to the node. Returns the orphans, in order.
    ///
    /// Called when the node is gone, fenced, or has a new incarnation. A restarted member keeps its id, so otherwise its former partitions would seem to have a
    /// live owner. Owner epochs do not change here, because the next grant raises them.
    @discardableResult
    package mutating func orphan(ownedBy id: String) -> [Int] {
        var orphaned: [Int] = []
        for partition in self.partitions.indices {
            if self.partitions[partition].owner == id {
                self.partitions[partition].owner = nil
                self.partitions[partition].move = nil
                orphaned.append(partition)
            } else if self.partitions[partition].move?.to == id {
                self.partitions[partition].move = nil
            }
        }
        return orphaned
    }
}
