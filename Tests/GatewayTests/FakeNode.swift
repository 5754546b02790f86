import AdminAPI
import Logging
import NIOCore
import Pipeline

@testable import Gateway

/// The node of a port under test. It is ready, and its responses name the requested resource.
struct FakeNode: NodeFacade {
    var cluster: (any ClusterAdministration)?

    func status() async -> ByteBuffer { ByteBuffer(string: "{\"of\":\"status\"}") }
    func metrics() async -> ByteBuffer { ByteBuffer(string: "metrics 1\n") }
    var zooKeeper: (@Sendable () async -> ByteBuffer)? { nil }
    func reasonNotReady() async -> String? { nil }
}

extension Origins {
    /// The origins of the API port's own page, at the default address.
    static let own = ["127.0.0.1", "localhost", "[::1]"].map { "http://\($0):8081" }
}

extension RefusedOriginLog {
    static let forTests = RefusedOriginLog(Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
}

extension APIServices {
    static func forTests(
        _ node: FakeNode, origins: [String] = [], token: String? = nil, channels: any ChannelDirectory, addresses: BoundAddresses = BoundAddresses()
    ) -> APIServices {
        APIServices(
            origins: Origins(origins + Origins.own), refusedOrigins: .forTests, token: token, connectionsMax: 20, page: PageResponse(), channels: channels,
            node: node,
            addresses: addresses)
    }
}
