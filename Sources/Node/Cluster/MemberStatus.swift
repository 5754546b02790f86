import Coordination
import Link

/// The status of this node as a member of its cluster.
struct MemberStatus: Sendable {
    var summary: ClusterSummary
    var links: [LinkStatus]
    /// Messages to other nodes that were dropped.
    var dropped: UInt64
}
