/// One process of one node: a node that restarts has the same id and another incarnation.
package struct ProcessID: Hashable, Sendable, CustomStringConvertible {
    package var id: String
    /// The czxid of its member znode, which ZooKeeper never uses again.
    package var incarnation: Int64

    package init(id: String, incarnation: Int64) {
        self.id = id
        self.incarnation = incarnation
    }

    package var description: String { "\(self.id) incarnation \(self.incarnation)" }
}
