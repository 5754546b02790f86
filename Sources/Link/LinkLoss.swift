/// Why a link is down.
package enum LinkLoss: Hashable, Sendable, CustomStringConvertible {
    /// The peer's host refuses the connection: the process that listened there is dead.
    case refused
    /// No byte arrived for ``LinkLimits/silenceMilliseconds``.
    case silent
    /// The peer accepted none of the waiting bytes for ``LinkLimits/stallMilliseconds``.
    case stalled
    /// The connection broke.
    case reset
    /// The peer could not be dialled, for a reason other than a closed port.
    case unreachable(String)
    /// One side refused the other side.
    case rejected(String)
    /// The peer has closed its links, or this node no longer needs the link.
    case closed

    package var description: String {
        switch self {
        case .refused: "connection refused"
        case .silent: "the peer sends nothing"
        case .stalled: "the peer reads nothing"
        case .reset: "connection lost"
        case .unreachable(let reason): "unreachable: \(reason)"
        case .rejected(let reason): "rejected: \(reason)"
        case .closed: "closed"
        }
    }
}
