/// One operation on ZooKeeper, as a value: what a state machine asks for and what a session carries out.
///
/// Paths are absolute. Versions are the data version of the node; nil writes or deletes whatever is there.
///
/// A watch is set by a read that succeeds, and fires once. A read that fails sets none, or one that is never heard: read again.
package enum ZooKeeperRequest: Hashable, Sendable {
    /// Answers ``ZooKeeperReply/node(data:stat:)``. With `watch`, the next change of this node marks its path dirty.
    case get(path: String, watch: Bool)
    /// Answers ``ZooKeeperReply/stat(_:)``, nil for a node that is not there. With `watch`, its creation, change or deletion marks its path dirty.
    case exists(path: String, watch: Bool)
    /// Answers ``ZooKeeperReply/children(_:stat:)``. With `watch`, the coming or going of a child marks the path dirty.
    case children(path: String, watch: Bool)
    /// Answers the stat of the new node: its `czxid` is unique for ever.
    case create(path: String, data: [UInt8], ephemeral: Bool)
    /// A persistent node without data, in which everyone may make nodes and see their names, whatever the credentials of this session. Answers as `create`.
    case createShared(path: String)
    /// Answers the stat after the write.
    case set(path: String, data: [UInt8], version: Int32?)
    /// Answers ``ZooKeeperReply/done``.
    case delete(path: String, version: Int32?)
    /// All or none. Answers ``ZooKeeperReply/multi(_:)``, one stat for each `set` and `create` (nil for the others; a create inside a multi
    /// answers no stat either, because the C client cannot carry it).
    ///
    /// It is decided by the leader, unlike reads: a multi of checks alone proves that the session lives and the versions are current.
    case multi([Part])

    package enum Part: Hashable, Sendable {
        case check(path: String, version: Int32?)
        case create(path: String, data: [UInt8], ephemeral: Bool)
        case set(path: String, data: [UInt8], version: Int32?)
        case delete(path: String, version: Int32?)
    }
}

package enum ZooKeeperReply: Hashable, Sendable {
    case node(data: [UInt8], stat: ZooKeeperStat)
    case stat(ZooKeeperStat?)
    case children([String], stat: ZooKeeperStat)
    case multi([ZooKeeperStat?])
    case done
}

/// The part of a node's stat that decisions use.
package struct ZooKeeperStat: Hashable, Sendable {
    /// The transaction that created the node. An incarnation: no other node, at this path or another, has the same.
    package var czxid: Int64
    /// The transaction that last changed it.
    package var mzxid: Int64
    /// How often its data was set.
    package var version: Int32
    /// The session that an ephemeral node lives with; 0 for a persistent one.
    package var ephemeralOwner: Int64

    package init(czxid: Int64, mzxid: Int64, version: Int32, ephemeralOwner: Int64) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.ephemeralOwner = ephemeralOwner
    }
}

/// Why an operation has no reply. What matters is whether it may have happened.
package enum ZooKeeperFailure: Error, Hashable, Sendable {
    /// The server said no: nothing happened. For a multi, `part` is the first part that was refused.
    case refused(Refusal, part: Int?)
    /// The reply was lost, or is late: it may have happened, now or later. Resolved by reading back.
    case ambiguous(code: Int32)
    /// Not sent: nothing happened.
    case notSent(code: Int32)
    /// The session is over. It may have happened before that.
    case sessionLost

    package enum Refusal: Hashable, Sendable {
        case noNode
        case nodeExists
        case badVersion
        case notEmpty
        case noChildrenForEphemerals
        /// The credentials do not allow it.
        case notAuthorized
        case other(code: Int32)
    }
}
