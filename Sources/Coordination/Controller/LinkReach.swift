/// The state of one node's link to a peer.
package struct LinkReach: Hashable, Sendable {
    package var incarnation: Int64
    package var isUp: Bool
    package var since: ContinuousClock.Instant
    /// When the peer's port was first found closed. Nil if it is open. A live process keeps its port open.
    package var refusedSince: ContinuousClock.Instant?
    /// Why the link is down, for people.
    package var reason: String?

    /// Whether the link has been down for this time, for any reason.
    func isUnreachable(for duration: Duration, at now: ContinuousClock.Instant) -> Bool { !self.isUp && now >= self.since.advanced(by: duration) }
}

extension [String: LinkReach] {
    func isUp(_ id: String) -> Bool { self[id]?.isUp ?? false }

    /// Whether there is a link to the node's present process.
    func reaches(_ node: ClusterView.Node) -> Bool { self[node.id].map { $0.isUp && $0.incarnation == node.incarnation } ?? false }

    /// The peers with a link, in order.
    var up: [String] { self.filter(\.value.isUp).keys.sorted() }
}
