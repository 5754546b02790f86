/// Another node, as in the view.
package struct LinkPeer: Hashable, Sendable {
    package var id: String
    /// The incarnation of the process. It changes with each restart.
    package var incarnation: Int64
    /// `host:port`.
    package var address: String

    package init(id: String, incarnation: Int64, address: String) {
        self.id = id
        self.incarnation = incarnation
        self.address = address
    }
}

/// One of the two connections between two nodes: each node dials the other, and sends on the connection that it dialled.
package enum LinkDirection: String, Hashable, Sendable, CaseIterable {
    case outgoing, incoming
}

/// A node's identity for its peers.
struct LinkIdentity: Hashable, Sendable {
    var cluster: String
    var id: String
    var incarnation: Int64
    /// The lowest and the highest protocol version that it supports. Two nodes use the highest common one.
    var protocols: ClosedRange<Int>
    /// The program's version, for people.
    var version: String
}
