/// Another node, as the view names it.
struct LinkPeer: Hashable, Sendable {
    var id: String
    /// The process that is meant: one that has restarted has another.
    var incarnation: Int64
    /// `host:port`.
    var address: String
}

/// Which of the two connections between two nodes: each dials the other, and sends on what it dialled.
enum LinkDirection: String, Hashable, Sendable, CaseIterable {
    case outgoing, incoming
}

/// Who a node is to its peers.
struct LinkIdentity: Hashable, Sendable {
    var cluster: String
    var id: String
    var incarnation: Int64
    /// The least and the greatest protocol it speaks. Two nodes use the greatest that both do.
    var protocols: ClosedRange<Int>
    /// Of the program, for people.
    var version: String
}
