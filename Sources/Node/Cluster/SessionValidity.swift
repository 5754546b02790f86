import Coordination
import NIOConcurrencyHelpers

/// Whether this node's session with ZooKeeper cannot have ended, for the log in memory, which is made before the coordinator.
final class SessionValidity: Sendable {
    private let coordinator = NIOLockedValueBox<ClusterCoordinator?>(nil)

    /// False before the node has a coordinator. May be called from any thread.
    var isValid: Bool { self.coordinator.withLockedValue { $0 }?.isSessionValid ?? false }

    func follow(_ coordinator: ClusterCoordinator) { self.coordinator.withLockedValue { $0 = coordinator } }
}
