import AdminAPI
import JSON

/// The fields that begin every response about the cluster.
extension ClusterHead {
    /// The last line of a table.
    var footer: String { "controller \(self.controllerText)" }

    var controllerText: String {
        let view = "view \(Readable.count(self.viewVersion)), \(Readable.duration(seconds: self.viewAgeSeconds)) old"
        guard let controller else { return "none (reported by \(self.through)), \(view)" }
        let reporter = self.authoritative ? "" : " (reported by \(self.through))"
        return "\(controller.id), epoch \(controller.epoch)\(reporter), \(view)"
    }

    /// The exit status for the whole cluster. It is the same for every response.
    var exitStatus: CommandStatus { self.coordination.health.exitStatus }

    /// The lines below every table that say why the cluster makes no decisions. Empty while the cluster can make decisions.
    func notes(on terminal: Terminal) -> [String] {
        self.coordination.reason.map { [terminal.sentence($0, lead: "! ", self.coordination.health.colour)] } ?? []
    }
}

/// A response about the cluster that a command shows.
protocol ClusterReport: Sendable {
    static var kind: AdminRequest.Kind { get }
    init(_ value: JSONValue) throws(JSONError)
    var exitStatus: CommandStatus { get }
    func table(on terminal: Terminal) -> String
}

extension ClusterReport {
    /// Reads a response. Characters that control a terminal are escaped.
    init(json: [UInt8]) throws {
        guard let value = sanitizedJSON(json), let report = try? Self(value) else { throw CommandError.unknownResponse(of: Self.kind.path) }
        self = report
    }
}
