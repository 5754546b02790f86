package import AdminAPI
import Partitioning

/// The coordinator of a node without ZooKeeper: a cluster of one, whose view never changes.
///
/// As in a member of a cluster, ``OwnershipMachine`` follows the view, and its effects are performed on the storage. Responses to operators are made from the
/// view and the served partitions. The actor runs on the cooperative pool. No published event passes through it.
package actor LoneCoordinator: ClusterAdministration {
    /// The state of the process, for responses.
    package struct Process: Sendable {
        package var state: NodeState
        /// The address where operators reach the API.
        package var api: String
        package var metrics: NodeMetrics

        package init(state: NodeState, api: String, metrics: NodeMetrics) {
            self.state = state
            self.api = api
            self.metrics = metrics
        }
    }

    private let node: LoneNode
    private let wallClock: @Sendable () -> Int64
    private let storage: any PartitionStorage
    private let process: @Sendable () async -> Process
    private var ownership = OwnershipMachine()

    package nonisolated var partitionCount: Int { self.node.grants.count }

    /// - Parameters:
    ///   - startedAt: milliseconds since 1970.
    ///   - process: called for each request of an operator.
    package init(
        id: String, version: String, startedAt: Int64, wallClock: @escaping @Sendable () -> Int64, storage: any PartitionStorage,
        process: @escaping @Sendable () async -> Process
    ) {
        self.node = LoneNode(id: id, version: version, startedAt: startedAt)
        self.wallClock = wallClock
        self.storage = storage
        self.process = process
    }

    /// Takes over every partition. Throws if the storage refuses one of them.
    package func start() async throws(SealRefusal) {
        let effects = self.ownership.follow(
            self.node.view, id: self.node.id, incarnation: LoneNode.incarnation, isConnected: true, at: .now, isCovered: { _ in true })
        for effect in effects {
            switch effect {
            case .seal(let grants):
                let refusals = await self.storage.seal(grants)
                let refused = Set(refusals.map(\.grant))
                _ = self.ownership.sealed(grants.filter { !refused.contains($0) })
                self.ownership.refused(Array(refused))
                if let refusal = refusals.first { throw refusal }
            case .handOver, .release, .reclaim:
                preconditionFailure("A view that never changes releases no partitions")
            }
        }
    }

    package func respond(to request: AdminRequest) async -> AdminResponse {
        let process = await self.process()
        var node = self.node
        node.api = process.api
        node.state = process.state
        node.metrics = process.metrics
        node.wallClock = self.wallClock()
        node.serving = self.ownership.serving
        return node.response(to: request, at: .now)
    }
}
