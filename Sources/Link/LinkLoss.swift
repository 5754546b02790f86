/// Why a link is down.
package enum LinkLoss: Hashable, Sendable, CustomStringConvertible {
    /// The port is closed while the machine answers: the process that listened there is dead.
    case refused
    /// Nothing was heard for ``LinkLimits/silenceMilliseconds``.
    case silent
    /// The peer took none of what waited for it for ``LinkLimits/stallMilliseconds``.
    case stalled
    /// The connection broke.
    case reset
    /// It could not be dialled, for a reason other than a closed port.
    case unreachable(String)
    /// One side does not take the other.
    case rejected(String)
    /// The other side said goodbye, or nobody wants the link any more.
    case closed

    package var description: String {
        switch self {
        case .refused: "connection refused"
        case .silent: "silent"
        case .stalled: "reads nothing"
        case .reset: "connection lost"
        case .unreachable(let reason): "unreachable: \(reason)"
        case .rejected(let reason): "rejected: \(reason)"
        case .closed: "closed"
        }
    }
}
