/// Explains a lost connection to ZooKeeper to operators. The status of the node, the status of the cluster, and the refusal of a change contain this text.
///
/// In this version each node keeps its own history, and no event crosses nodes. So the ownership of partitions does not affect publishers and subscribers.
package struct ZooKeeperOutage: Hashable, Sendable {
    /// The beginning of every text about decisions that the cluster cannot make.
    static let unaffected =
        "Subscribers are not affected, and with the log on Redis publishers are not affected either; with log: memory publishers get 503 until ZooKeeper is back."

    var node: String
    /// The state of the session: a ``ZooKeeperState/Phase/name``.
    var session: String
    /// Whether the node has ever seen its cluster's view.
    var hasJoined: Bool
    var knowsController: Bool
    /// The number of partitions that the node has not given up.
    var held: Int
    /// See ``ClusterSettings/isLogFencing``.
    var isLogFencing: Bool

    package var text: String {
        let connection =
            "\(self.node) has no connection to ZooKeeper (its session is \(self.session))\(self.knowsController ? "" : " and knows no controller")."
        let advice = "Look at the ZooKeeper servers, and at the network between them and \(self.node)."
        guard self.hasJoined else { return "\(self.node) has not joined its cluster. \(connection) \(advice)" }
        return
            "\(Self.unaffected) \(connection) \(self.ownership) While no controller has a connection, no partition moves, and no join, drain or other change "
            + "is possible. \(advice)"
    }

    /// After a pause of the process, the session may have ended, and the controller may have granted the partitions to other nodes.
    private var ownership: String {
        if self.isLogFencing { return "It serves its partitions until the log says that another node owns them." }
        return switch self.held {
        case 0: "It has given up its partitions."
        case 1: "It gives up its partition within a third of its session timeout; another node may own it already."
        default: "It gives up its \(self.held) partitions within a third of its session timeout; other nodes may own them already."
        }
    }
}
