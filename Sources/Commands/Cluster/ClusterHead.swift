#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What every answer about the cluster begins with: who says so.
struct ClusterHead: Decodable, Equatable, Sendable {
    struct Controller: Decodable, Equatable, Sendable {
        var id: String
        var incarnation: Int
        var epoch: Int
        var api: String?
    }

    var cluster: String
    /// The node that answered.
    var through: String
    /// False when that node is not the controller, and tells what it knows by itself.
    var authoritative: Bool
    var controller: Controller?
    var mode: String
    var viewVersion: Int
    var viewAgeSeconds: Int

    /// The last line of a table.
    var words: String { "controller \(self.controllerWords)" }

    var controllerWords: String {
        let view = "view \(Readable.count(self.viewVersion)), \(Readable.duration(seconds: self.viewAgeSeconds)) old"
        guard let controller else { return "none; told by \(self.through), \(view)" }
        let teller = self.authoritative ? "" : "; told by \(self.through), which cannot ask it"
        return "\(controller.id), epoch \(controller.epoch)\(teller), \(view)"
    }

    /// What who answered says of the whole, whatever the answer is about.
    var exitStatus: CommandStatus {
        self.controller == nil ? .critical : self.authoritative ? .ok : .degraded
    }
}

/// An answer about the cluster.
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
            self = try decoder.decode(Self.self, from: Data(json))
        } catch {
            throw Failure(.critical, "The answer of \(Self.path) is not that of a node of this version. Is --api the API port of a node?")
        }
    }
}

extension CommandStatus {
    func worse(_ other: CommandStatus) -> CommandStatus { self.rawValue >= other.rawValue ? self : other }
}
