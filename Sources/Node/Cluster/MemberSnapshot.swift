import Coordination
import Link

/// What a node is in its cluster at one moment, and its links. Never on the data path.
struct MemberSnapshot: Sendable {
    var summary: ClusterSummary
    var links: [LinkStatus]
    /// Messages that no link carried.
    var dropped: UInt64
}
