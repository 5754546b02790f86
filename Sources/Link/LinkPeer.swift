package import Partitioning

/// Another node, as listed in the view.
package struct LinkPeer: Hashable, Sendable {
    package var process: ProcessID
    /// `host:port`.
    package var address: String

    package init(_ process: ProcessID, address: String) {
        self.process = process
        self.address = address
    }

    package var id: String { self.process.id }
}

/// One of the two connections between two nodes: each node dials the other, and sends on the connection that it dialled.
package enum LinkDirection: String, Hashable, Sendable, CaseIterable {
    case outgoing, incoming
}

/// The purpose of a connection. Each node dials two connections to each peer, so that a heartbeat or a view never waits behind events.
package enum LinkUse: String, Hashable, Sendable, CaseIterable {
    /// Messages between coordinators: views, reports, requests. Only the dialling side sends messages.
    case control
    /// Frames of the data path, in both directions: see ``LinkDataConnection``.
    case data
}

/// The identity that a node sends to its peers.
struct LinkIdentity: Hashable, Sendable {
    var cluster: String
    var process: ProcessID
    /// The lowest and the highest protocol version that the node supports. Two nodes use the highest common version.
    var protocols: ClosedRange<Int>
    /// The program's version, for people.
    var version: String

    var id: String { self.process.id }
}
