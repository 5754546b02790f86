/// What one node knows of its own link to a peer.
package struct LinkReach: Hashable, Sendable {
    package var incarnation: Int64
    package var isUp: Bool
    package var since: ContinuousClock.Instant
    /// Since when the peer's port is closed, which a live process would not do.
    package var refusedSince: ContinuousClock.Instant?
    /// Why it is down, for people.
    package var reason: String?
}

extension [String: LinkReach] {
    func isUp(_ id: String) -> Bool { self[id]?.isUp ?? false }

    /// Whether there is a link to that process, and not only to one of the same id.
    func reaches(_ node: ClusterView.Node) -> Bool { self[node.id].map { $0.isUp && $0.incarnation == node.incarnation } ?? false }

    /// The peers with a link, in order.
    var up: [String] { self.filter(\.value.isUp).keys.sorted() }
}
