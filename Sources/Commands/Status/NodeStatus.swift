#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The response of `GET /api/status`.
struct NodeStatus: Decodable, Equatable, Sendable {
    enum Health: String, Decodable, Sendable {
        case healthy
        case degraded
        case critical
    }

    struct Node: Decodable, Equatable, Sendable {
        var id: String
        var version: String
        var commit: String
        var pid: Int
        var startedAt: String
        var uptimeSeconds: Int
        /// The node's wall clock. Nil from an older node.
        var time: String?
        var state: String
        var loops: Int
    }

    struct Log: Decodable, Equatable, Sendable {
        var kind: String
        var path: String?
        var durability: String
        var state: String
        var error: String?
        var events: Int
        var bytes: Int
        var channels: Int
    }

    struct Subscribers: Decodable, Equatable, Sendable {
        var connections: Int
        var connectionsMax: Int
        var subscriptions: Int
        var byTransport: [String: Int]
    }

    struct Rates: Decodable, Equatable, Sendable {
        var publishedPerSecond: Double
        var deliveredPerSecond: Double
    }

    struct Totals: Decodable, Equatable, Sendable {
        var published: Int
        var delivered: Int
        var duplicates: Int
        var gaps: Int
        var refused: Int
    }

    /// The node's own role in its cluster.
    struct Cluster: Decodable, Equatable, Sendable {
        /// The state of its session with ZooKeeper, such as `connected`.
        var session: String
    }

    var node: Node
    var listen: String
    var api: String
    var log: Log
    var subscribers: Subscribers
    var rates: Rates
    var totals: Totals
    /// Nil of a node in no cluster.
    var cluster: Cluster?
    var health: Health
    var reasons: [String]

    init(json: [UInt8]) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(NodeStatus.self, from: Data(harmlessJSON(json)))
        } catch {
            throw Failure(.critical, "The answer is not the status of a node of this version. Is --api the API port of a node?")
        }
    }

    var exitStatus: CommandStatus { self.health.exitStatus }
}
