package import AdminAPI
package import NIOCore

/// What the API port asks of the node that it belongs to. Called off the loops; what it returns are response bodies.
package protocol NodeFacade: Sendable {
    /// Responds to operators' requests. Nil while the node is starting.
    var cluster: (any ClusterAdministration)? { get }

    /// `GET /api/status`.
    func status() async -> ByteBuffer
    /// `GET /metrics`.
    func metrics() async -> ByteBuffer
    /// `GET /api/zookeeper`. Nil for a node without ZooKeeper.
    var zooKeeper: (@Sendable () async -> ByteBuffer)? { get }
    /// Why a load balancer should send no traffic here; nil when it should.
    func reasonNotReady() async -> String?
}
