/// What it means that a node has no connection to ZooKeeper. The one judgement: the node's own status, the cluster's, and the refusal of a change all quote it.
///
/// In this version each node keeps its own history, and no event crosses nodes. So ownership of partitions matters to no publisher and no subscriber.
package struct ZooKeeperOutage: Hashable, Sendable {
    /// Of every judgement about decisions that are not made.
    static let unaffected = "Publishers and subscribers are not affected: each node serves its own from its own history."

    var node: String
    /// ``ZooKeeperState/Phase/name``.
    var session: String
    /// False before the node has seen its cluster's view for the first time.
    var hasJoined: Bool
    var knowsController: Bool
    /// Partitions that it has not given up.
    var held: Int

    package var text: String {
        let connection =
            "\(self.node) has no connection to ZooKeeper (its session is \(self.session))\(self.knowsController ? "" : " and knows of no controller")."
        let advice = "Look at the ZooKeeper servers, and at the network between them and \(self.node)."
        guard self.hasJoined else { return "\(self.node) has not joined its cluster. \(connection) \(advice)" }
        return
            "\(Self.unaffected) \(connection) \(self.ownership) While no controller has a connection, no partition moves, and no join, drain or other change "
            + "is possible. \(advice)"
    }

    /// A node that was paused finds itself suspended, and cannot know what the others have decided meanwhile.
    private var ownership: String {
        switch self.held {
        case 0: "It has given up its partitions."
        case 1: "It gives up its 1 partition within a third of its session's timeout; another node may own it already."
        default: "It gives up its \(self.held) partitions within a third of its session's timeout; other nodes may own them already."
        }
    }
}
