import AdminAPI
import Coordination
import Partitioning
import Storage

/// The cluster of a node without ZooKeeper. The responses are ``LoneNode``'s; this adds the state of the process.
struct EmbeddedCluster: ClusterAdministration {
    let inspector: NodeInspector

    var partitionCount: Int { Partitions.countByDefault }

    func respond(to request: AdminRequest) async -> AdminResponse {
        let snapshot = await self.inspector.snapshot()
        let state: NodeState =
            switch snapshot.processState {
            case .starting: .joining
            case .ready: .active
            case .stopping: .draining
            }
        let node = LoneNode(
            id: snapshot.identity.id, api: snapshot.api, version: snapshot.identity.version, state: state, figures: await self.inspector.figures(),
            startedAt: snapshot.startedAt, wallClock: WallClock.now())
        return node.response(to: request, at: .now)
    }
}
