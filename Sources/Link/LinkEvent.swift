/// What the links tell their one reader.
///
/// Between two `up` of one peer in one direction there is a `down`. What a connection delivers comes after its `up` and before its `down`, in the order in
/// which the peer sent it.
package enum LinkEvent: Hashable, Sendable {
    case up(id: String, incarnation: Int64, LinkDirection)
    /// Also once for each attempt to dial that failed, so that a reader can count how long a port has been closed.
    case down(id: String, incarnation: Int64, LinkDirection, LinkLoss)
    case received(from: String, incarnation: Int64, viewVersion: Int64, payload: [UInt8])
    /// The peer's view is at another version than it said before on this connection.
    case viewVersion(from: String, incarnation: Int64, Int64)

    /// What it weighs while it waits for its reader.
    var bytes: Int {
        switch self {
        case .up, .down, .viewVersion: 128
        case .received(_, _, _, let payload): 128 + payload.count
        }
    }
}
