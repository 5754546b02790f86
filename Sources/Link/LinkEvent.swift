package import Partitioning

/// The events that the links report to their only reader.
///
/// For each peer and direction, a `down` comes between two `up`. The messages of a connection come between its `up` and its `down`, in the order in which the
/// peer sent them.
package enum LinkEvent: Hashable, Sendable {
    case up(ProcessID, LinkDirection)
    /// Also reported for each failed attempt to dial, so that the reader can count how long a port has been closed.
    case down(ProcessID, LinkDirection, LinkLoss)
    case received(from: ProcessID, viewVersion: Int64, payload: [UInt8])
    /// The peer reported a view version that differs from the last one that it reported on this connection.
    case viewVersion(from: ProcessID, Int64)

    /// The accounted size of the event while it waits for the reader.
    var bytes: Int {
        switch self {
        case .up, .down, .viewVersion: 128
        case .received(_, _, let payload): 128 + payload.count
        }
    }
}
