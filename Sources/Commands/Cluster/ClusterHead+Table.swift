import AdminAPI
import JSON

/// What every response about the cluster begins with.
extension ClusterHead {
    /// The last line of a table.
    var words: String { "controller \(self.controllerWords)" }

    var controllerWords: String {
        let view = "view \(Readable.count(self.viewVersion)), \(Readable.duration(seconds: self.viewAgeSeconds)) old"
        guard let controller else { return "none (reported by \(self.through)), \(view)" }
        let reporter = self.authoritative ? "" : " (reported by \(self.through))"
        return "\(controller.id), epoch \(controller.epoch)\(reporter), \(view)"
    }

    /// Of the whole cluster. The same in every answer.
    var exitStatus: CommandStatus { self.coordination.health.exitStatus }

    /// The reason that belongs below any table; none while decisions are made.
    func notes(on terminal: Terminal) -> [String] {
        self.coordination.reason.map { [terminal.sentence($0, lead: "! ", self.coordination.health.colour)] } ?? []
    }
}

/// A response about the cluster that a command shows.
protocol ClusterReport: Sendable {
    static var kind: AdminRequest.Kind { get }
    init(_ value: JSONValue) throws(JSONFailure)
    var exitStatus: CommandStatus { get }
    func table(on terminal: Terminal) -> String
}

extension ClusterReport {
    /// From a response, in which nothing is left that a terminal would obey.
    init(json: [UInt8]) throws {
        guard let value = harmlessJSON(json), let report = try? Self(value) else {
            throw Failure(.critical, "The response of \(Self.kind.path) is not that of a node of this version. Is --api the API port of a node?")
        }
        self = report
    }
}

extension CommandStatus {
    func worse(_ other: CommandStatus) -> CommandStatus { self.rawValue >= other.rawValue ? self : other }
}
