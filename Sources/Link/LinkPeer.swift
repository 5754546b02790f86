/// Another node, as the view names it.
package struct LinkPeer: Hashable, Sendable {
    package var id: String
    /// The process that is meant: one that has restarted has another.
    package var incarnation: Int64
    /// `host:port`.
    package var address: String

    package init(id: String, incarnation: Int64, address: String) {
        self.id = id
        self.incarnation = incarnation
        self.address = address
    }
}

/// Which of the two connections between two nodes: each dials the other, and sends on what it dialled.
package enum LinkDirection: String, Hashable, Sendable, CaseIterable {
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
