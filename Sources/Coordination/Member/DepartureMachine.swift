/// Decides when a node that stops has handed over its partitions, and leaves its cluster. A pure value.
///
/// The node announces that it leaves. The controller then drains it: the partitions move one by one to other nodes, with the same handoffs as for any other move.
/// The node leaves when it owns nothing any more, when nothing can be handed over, or at the deadline. The partitions that are left are released then.
struct DepartureMachine: Sendable {
    enum State: Hashable, Sendable {
        /// The node does not stop.
        /// Can transition to: handingOver.
        case staying
        /// The partitions are being handed over. The announcement is repeated at `announceAt`, because it may be lost, and because the controller may change.
        /// Can transition to: leaving.
        case handingOver(until: ContinuousClock.Instant, announceAt: ContinuousClock.Instant?)
        /// The node leaves.
        case leaving
    }

    enum Step: Hashable, Sendable {
        case nothing
        /// Announce to all nodes that this incarnation leaves. Proceed again at that time.
        case announce(Int64, next: ContinuousClock.Instant)
        /// Proceed again at that time.
        case wait(next: ContinuousClock.Instant)
        case leave
    }

    struct Facts: Sendable {
        let now: ContinuousClock.Instant
        /// Nil while this node is not a member.
        let incarnation: Int64?
        let isConnected: Bool
        let view: ClusterView?
    }

    private let id: String
    private(set) var state = State.staying

    init(id: String) { self.id = id }

    /// How often the announcement is repeated.
    static let announceInterval = Duration.milliseconds(500)

    mutating func begin(until: ContinuousClock.Instant) {
        switch self.state {
        case .staying: self.state = .handingOver(until: until, announceAt: nil)
        case .handingOver, .leaving: break
        }
    }

    mutating func proceed(_ facts: Facts) -> Step {
        switch self.state {
        case .staying, .leaving: return .nothing
        case .handingOver(let until, let announceAt):
            guard let incarnation = facts.incarnation, facts.now < until, self.canHandOver(facts) else {
                self.state = .leaving
                return .leave
            }
            if let announceAt, facts.now < announceAt { return .wait(next: min(until, announceAt)) }
            let next = min(until, facts.now.advanced(by: Self.announceInterval))
            self.state = .handingOver(until: until, announceAt: next)
            return .announce(incarnation, next: next)
        }
    }

    /// Whether there is something to hand over, and a node that can take it. Without a connection to ZooKeeper no partition moves.
    private func canHandOver(_ facts: Facts) -> Bool {
        guard facts.isConnected, let view = facts.view, view.node(self.id)?.incarnation == facts.incarnation else { return false }
        guard view.nodes.contains(where: { $0.id != self.id && $0.state == .active && $0.weight > 0 }) else { return false }
        return view.partitions.contains { $0.owner == self.id || $0.move?.to == self.id }
    }
}
