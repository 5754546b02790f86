/// One operation on ZooKeeper, as a value: a state machine requests it, and a session executes it.
///
/// Paths are absolute. Versions are the data version of the znode. Nil writes or deletes any version.
///
/// A successful read sets a watch, which fires once. A failed read sets none, or one that never fires here: read again.
package enum ZooKeeperRequest: Hashable, Sendable {
    /// Returns ``ZooKeeperReply/node(data:stat:)``. With `watch`, the next change of this znode marks its path dirty.
    case get(path: String, watch: Bool)
    /// Returns ``ZooKeeperReply/stat(_:)``, nil if the znode does not exist. With `watch`, its creation, change or deletion marks its path dirty.
    case exists(path: String, watch: Bool)
    /// Returns ``ZooKeeperReply/children(_:stat:)``. With `watch`, the creation or deletion of a child marks the path dirty.
    case children(path: String, watch: Bool)
    /// Returns the stat of the new znode. Its `czxid` is never used again.
    case create(path: String, data: [UInt8], ephemeral: Bool)
    /// Creates a persistent znode without data in which every user may create children and list them, whatever the credentials of this session. Returns as `create`.
    case createShared(path: String)
    /// Returns the stat after the write.
    case set(path: String, data: [UInt8], version: Int32?)
    /// Returns ``ZooKeeperReply/done``.
    case delete(path: String, version: Int32?)
    /// Executes all parts or none. Returns ``ZooKeeperReply/multi(_:)``, one stat for each `set` and `create` (nil for the others; a create inside a multi
    /// returns no stat either, because the C client does not support it).
    ///
    /// Unlike reads, it is decided by ZooKeeper's leader: even a multi with only checks proves that the session lives and the versions are current.
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

/// The part of a znode's stat that decisions use.
package struct ZooKeeperStat: Hashable, Sendable {
    /// The transaction that created the znode. It is used as an incarnation: no other znode, at this path or another, has the same.
    package var czxid: Int64
    /// The transaction that last changed it.
    package var mzxid: Int64
    /// The number of times that its data was set.
    package var version: Int32
    /// The session of an ephemeral znode; 0 for a persistent one.
    package var ephemeralOwner: Int64

    package init(czxid: Int64, mzxid: Int64, version: Int32, ephemeralOwner: Int64) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.ephemeralOwner = ephemeralOwner
    }
}

/// Why an operation has no reply. The cases differ in whether it may have happened.
package enum ZooKeeperFailure: Error, Hashable, Sendable {
    /// The server refused it: nothing happened. For a multi, `part` is the first refused part.
    case refused(Refusal, part: Int?)
    /// The reply was lost, or is late: it may have happened, now or later. Resolved by reading back.
    case ambiguous(code: Int32)
    /// Not sent: nothing happened.
    case notSent(code: Int32)
    /// The session is over. The operation may have been executed before.
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
