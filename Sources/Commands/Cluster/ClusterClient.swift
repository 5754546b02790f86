import AdminAPI
import JSON

/// Requests reports and changes of the cluster from a node.
struct ClusterClient: Sendable {
    var node: NodeClient

    /// A report, and the JSON of its response on one line.
    struct Fetched<Report: ClusterReport>: Sendable {
        var report: Report
        var json: String
    }

    func fetch<Report: ClusterReport>(_ type: Report.Type, at path: String = Report.kind.path) async throws -> Fetched<Report> {
        let response = try self.expectKnownPath(await self.node.get(path), path)
        return Fetched(report: try Report(json: response.body), json: response.line)
    }

    /// Requests a change. Returns a sentence that names the accepted change and the controller, and the JSON of the response.
    func change(_ request: AdminRequest) async throws -> (text: String, json: String) {
        let path = request.kind.path
        let body = writtenJSON { request.writeBody(to: &$0) }
        let response = try self.expectKnownPath(await self.node.post(path, Array(body.utf8), headers: [("Content-Type", "application/json")]), path)
        guard let value = sanitizedJSON(response.body), let change = try? AcceptedChange(value) else { throw CommandError.unknownResponse(of: path) }
        // The controller has accepted the change. The cluster executes it later.
        return ("\(change.result): \(change.note ?? "accepted") (controller \(change.through))", response.line)
    }

    /// The message for an unknown node id. Nil if the cluster has a node with this id.
    func unknownNodeMessage(_ node: String) async throws -> String? {
        let ids = try await self.fetch(ClusterMembers.self).report.members.map(\.id)
        return ids.contains(node) ? nil : "There is no node \(node) in this cluster. The nodes of the cluster are \(ids.joined(separator: ", "))."
    }

    private func expectKnownPath(_ response: Response, _ path: String) throws -> Response {
        guard response.status != 404 || response.errorMessage?.hasPrefix("nothing is at") != true else {
            throw CommandError(
                .critical, "\(self.node.base) has no \(path). The node runs an older version, or a proxy between this machine and the node blocks the path.")
        }
        return try self.node.expectOK(response, for: path)
    }
}
