import AdminAPI
import JSON

/// Requests reports about the cluster from a node, and changes.
struct ClusterClient: Sendable {
    var node: NodeClient

    /// A report, and its JSON on one line.
    struct Look<Report: ClusterReport>: Sendable {
        var report: Report
        var json: String
    }

    func look<Report: ClusterReport>(_ type: Report.Type, at path: String = Report.kind.path) async throws -> Look<Report> {
        let answer = try self.expected(await self.node.get(path), for: path)
        return Look(report: try Report(json: answer.body), json: answer.line)
    }

    /// What was accepted and by which controller, and the JSON of the response.
    func change(_ request: AdminRequest) async throws -> (text: String, json: String) {
        let path = request.kind.path
        let body = writtenJSON { request.writeBody(to: &$0) }
        let answer = try self.expected(await self.node.post(path, Array(body.utf8), headers: [("Content-Type", "application/json")]), for: path)
        guard let value = harmlessJSON(answer.body), let change = try? AcceptedChange(value) else {
            throw Failure(.critical, "The response of \(path) is not that of a node of this version. Is --api the API port of a node?")
        }
        // That the cluster will make it, not that it has.
        return ("\(change.result): \(change.note ?? "accepted") (controller \(change.through))", answer.line)
    }

    private func expected(_ answer: Answer, for path: String) throws -> Answer {
        guard answer.status != 404 || answer.errorMessage?.hasPrefix("nothing is at") != true else {
            throw Failure(.critical, "\(self.node.base) does not know \(path): it runs an older version, or a proxy is in between.")
        }
        return try self.node.expectOK(answer, for: path)
    }
}

extension Answer {
    /// Its JSON on one line.
    var line: String { String(decoding: self.body.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self) }
}
