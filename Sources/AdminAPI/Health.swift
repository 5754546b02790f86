package import JSON

/// The health of a node or its cluster.
package enum Health: String, Hashable, Sendable, CaseIterable, Comparable {
    case healthy
    /// It works, and something needs attention.
    case degraded
    /// Something does not work.
    case critical

    package static func < (left: Health, right: Health) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .healthy: 0
        case .degraded: 1
        case .critical: 2
        }
    }

    /// An unknown value of a newer version does not count as `healthy`.
    package init(_ value: JSONValue) throws(JSONFailure) {
        self = Health(rawValue: try value.string(bytesMax: 20)) ?? .degraded
    }
}
