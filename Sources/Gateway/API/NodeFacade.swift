package import AdminAPI
package import NIOCore

/// The API port's interface to its node. The functions are not called on event loops. They return response bodies.
package protocol NodeFacade: Sendable {
    /// Executes operators' requests. Nil while the node is starting.
    var cluster: (any ClusterAdministration)? { get }

    /// `GET /api/status`.
    func status() async -> ByteBuffer
    /// `GET /metrics`.
    func metrics() async -> ByteBuffer
    /// `GET /api/zookeeper`. Nil for a node without ZooKeeper.
    var zooKeeper: (@Sendable () async -> ByteBuffer)? { get }
    /// The reason why a load balancer should send no traffic to this node. Nil if the node is ready.
    func reasonNotReady() async -> String?
}
