#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The beginning of every response about the cluster: its source.
struct ClusterHead: Decodable, Equatable, Sendable {
    struct Controller: Decodable, Equatable, Sendable {
        var id: String
        var incarnation: Int
        var epoch: Int
        var api: String?
    }

    /// Whether the cluster can make decisions.
    struct Coordination: Decodable, Equatable, Sendable {
        var health: NodeStatus.Health
        /// What it means if it cannot, in sentences.
        var reason: String?
    }

    var cluster: String
    /// The responding node.
    var through: String
    /// False if that node is not the controller, and returned only what it knows itself.
    var authoritative: Bool
    var controller: Controller?
    var coordination: Coordination
    var mode: String
    var viewVersion: Int
    var viewAgeSeconds: Int

    /// The last line of a table.
    var words: String { "controller \(self.controllerWords)" }

    var controllerWords: String {
        let view = "view \(Readable.count(self.viewVersion)), \(Readable.duration(seconds: self.viewAgeSeconds)) old"
        guard let controller else { return "none (reported by \(self.through)), \(view)" }
        let reporter = self.authoritative ? "" : " (reported by \(self.through))"
        return "\(controller.id), epoch \(controller.epoch)\(reporter), \(view)"
    }

    /// The health of the whole cluster. The same in every response.
    var exitStatus: CommandStatus { self.coordination.health.exitStatus }

    /// The reason to print below every table. Nil while the cluster can make decisions.
    func notes(on terminal: Terminal) -> [String] {
        self.coordination.reason.map { [terminal.sentence($0, lead: "! ", self.coordination.health.colour)] } ?? []
    }
}

/// A response about the cluster. Its texts are escaped: see ``harmlessJSON(_:)``.
protocol ClusterReport: Decodable, Sendable {
    static var path: String { get }
    var exitStatus: CommandStatus { get }
    func table(on terminal: Terminal) -> String
}

extension ClusterReport {
    init(json: [UInt8]) throws {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            self = try decoder.decode(Self.self, from: Data(harmlessJSON(json)))
        } catch {
            throw Failure(.critical, "The answer of \(Self.path) is not that of a node of this version. Is --api the API port of a node?")
        }
    }
}

extension CommandStatus {
    func worse(_ other: CommandStatus) -> CommandStatus { self.rawValue >= other.rawValue ? self : other }
}
