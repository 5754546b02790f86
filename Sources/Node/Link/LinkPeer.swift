/// Another node, as the view names it.
struct LinkPeer: Hashable, Sendable {
    var id: String
    /// The process that is meant: one that has restarted has another.
    var incarnation: Int64
    /// `host:port`.
    var address: String
}

/// Which of the two connections between two nodes: each dials the other, and sends on what it dialled.
enum LinkDirection: String, Hashable, Sendable {
    case outgoing, incoming
}

/// Why a link is down.
enum LinkLoss: Hashable, Sendable, CustomStringConvertible {
    /// The port is closed: the process that listened there is dead.
    case refused
    /// Nothing was heard for ``LinkLimits/silenceSeconds``.
    case silent
    /// The connection broke.
    case reset
    /// It could not be dialled, for a reason other than a closed port.
    case unreachable(String)
    /// One side does not take the other.
    case rejected(String)
    /// The other side said goodbye, or nobody wants the link any more.
    case closed

    var description: String {
        switch self {
        case .refused: "connection refused"
        case .silent: "silent"
        case .reset: "connection lost"
        case .unreachable(let reason): "unreachable: \(reason)"
        case .rejected(let reason): "rejected: \(reason)"
        case .closed: "closed"
        }
    }
}

enum LinkEvent: Sendable {
    case up(id: String, incarnation: Int64, LinkDirection)
    case down(id: String, incarnation: Int64, LinkDirection, LinkLoss)
    /// In the order in which the peer sent them on this connection.
    case received(from: String, incarnation: Int64, viewVersion: Int64, payload: [UInt8])
    /// The peer's view is at another version than it said before.
    case viewVersion(from: String, incarnation: Int64, Int64)
}

/// The bounds of all links.
struct LinkLimits: Sendable {
    /// One frame's payload. Over it the connection is closed.
    var frameBytesMax = 16 * 1024 * 1024
    /// What waits for one peer's socket. At it messages are dropped; who sent them asks again.
    var bufferedBytesMax = 32 * 1024 * 1024
    var heartbeatMilliseconds = 1000
    /// Without a byte for so long a link is down.
    var silenceMilliseconds = 4000
    /// From connecting to being trusted.
    var handshakeMilliseconds = 3000
    /// Connections that have not proved who they are.
    var strangersMax = 64
    /// All incoming connections.
    var incomingMax = 1024
    var backoffMillisecondsMin = 100
    var backoffMillisecondsMax = 5000
}
