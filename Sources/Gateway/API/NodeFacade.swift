package import AdminAPI
package import NIOCore

/// The node that the API port belongs to. Called off the loops. Returns response bodies.
package protocol NodeFacade: Sendable {
    /// Executes operators' requests. Nil while the node is starting.
    var cluster: (any ClusterAdministration)? { get }

    /// `GET /api/status`.
    func status() async -> ByteBuffer
    /// `GET /metrics`.
    func metrics() async -> ByteBuffer
    /// `GET /api/zookeeper`. Nil for a node without ZooKeeper.
    var zooKeeper: (@Sendable () async -> ByteBuffer)? { get }
    /// Why a load balancer should send no traffic to this node. Nil if it should.
    func reasonNotReady() async -> String?
}
