/// One operation on ZooKeeper, as a value: a state machine requests it, and a session executes it.
///
/// Paths are absolute. A version is the data version of the znode. If the version is nil, the request applies to any version.
///
/// A successful read with `watch` sets a watch, which fires once. A failed read sets no watch that can be relied on, so the read has to be repeated.
package enum ZooKeeperRequest: Hashable, Sendable {
    /// Returns ``ZooKeeperReply/node(data:stat:)``. With `watch`, the next change of this znode marks its path dirty.
    case get(path: String, watch: Bool)
    /// Returns ``ZooKeeperReply/stat(_:)``, nil if the znode does not exist. With `watch`, its creation, change or deletion marks its path dirty.
    case exists(path: String, watch: Bool)
    /// Returns ``ZooKeeperReply/children(_:stat:)``. With `watch`, the creation or deletion of a child marks the path dirty.
    case children(path: String, watch: Bool)
    /// Returns the stat of the new znode. Its `czxid` is never used again.
    case create(path: String, data: [UInt8], ephemeral: Bool)
    /// Creates a persistent znode without data. Every user may create and list children of it, also if this session has credentials.
    /// Returns the same as `create`.
    case createShared(path: String)
    /// Returns the stat after the write.
    case set(path: String, data: [UInt8], version: Int32?)
    /// Returns ``ZooKeeperReply/done``.
    case delete(path: String, version: Int32?)
    /// Executes all parts or none. Returns ``ZooKeeperReply/multi(_:)`` with one element for each part: a stat for a `set`, and nil for all other parts. A
    /// `create` in a multi returns no stat, because the C client does not support it.
    ///
    /// Unlike a read, a multi is decided by ZooKeeper's leader. Even a multi with only checks proves that the session is valid and the versions are current.
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
    /// The number of the transaction that created the znode. It is used as an incarnation, because no other znode has the same number, at any path.
    package var czxid: Int64
    /// The number of the transaction that last changed the znode.
    package var mzxid: Int64
    /// The number of times that the znode's data was set.
    package var version: Int32
    /// The session that owns an ephemeral znode. 0 for a persistent znode.
    package var ephemeralOwner: Int64

    package init(czxid: Int64, mzxid: Int64, version: Int32, ephemeralOwner: Int64) {
        self.czxid = czxid
        self.mzxid = mzxid
        self.version = version
        self.ephemeralOwner = ephemeralOwner
    }
}

/// Why an operation failed. The cases differ in whether the server may have executed the operation.
package enum ZooKeeperFailure: Error, Hashable, Sendable {
    /// The server refused the operation, and nothing was changed. For a multi, `part` is the first refused part.
    case refused(Refusal, part: Int?)
    /// The reply was lost, or is late. The operation may have been executed, or may still be. Only a later read shows the result.
    case ambiguous(code: Int32)
    /// The operation was not sent, so nothing was changed.
    case notSent(code: Int32)
    /// The session has ended. The operation may have been executed before the end.
    case sessionLost

    package enum Refusal: Hashable, Sendable {
        case noNode
        case nodeExists
        case badVersion
        case notEmpty
        case noChildrenForEphemerals
        /// The credentials do not allow the operation.
        case notAuthorized
        case other(code: Int32)
    }
}
