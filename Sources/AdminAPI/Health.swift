package import JSON

/// The health of a node or its cluster.
package enum Health: String, Hashable, Sendable, CaseIterable, Comparable {
    case healthy
    /// The node or cluster works, but an operator must look at a problem.
    case degraded
    /// A function of the node or cluster does not work.
    case critical

    package static func < (left: Health, right: Health) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .healthy: 0
        case .degraded: 1
        case .critical: 2
        }
    }

    /// An unknown value, from a newer version, is read as `degraded`.
    package init(_ value: JSONValue) throws(JSONError) {
        self = Health(rawValue: try value.string(bytesMax: 20)) ?? .degraded
    }
}
