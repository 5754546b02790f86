/// Identifies one process of one node. A node that restarts keeps its id and gets another incarnation.
package struct ProcessID: Hashable, Sendable, CustomStringConvertible {
    package var id: String
    /// The czxid of the process's member znode. ZooKeeper never uses a czxid twice.
    package var incarnation: Int64

    package init(id: String, incarnation: Int64) {
        self.id = id
        self.incarnation = incarnation
    }

    package var description: String { "\(self.id) incarnation \(self.incarnation)" }
}
