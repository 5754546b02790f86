/// Requests reports about the cluster from a node, and changes.
struct ClusterClient: Sendable {
    var node: NodeClient

    /// A report, and its JSON on one line.
    struct Look<Report: ClusterReport>: Sendable {
        var report: Report
        var json: String
    }

    func look<Report: ClusterReport>(_ type: Report.Type, at path: String = Report.path) async throws -> Look<Report> {
        let answer = try self.expected(await self.node.get(path), for: path)
        return Look(report: try Report(json: answer.body), json: Self.line(answer))
    }

    /// The node that executed it, and the JSON of its response.
    func change(_ path: String, _ body: ChangeBody) async throws -> (words: String, json: String) {
        let answer = try self.expected(await self.node.post(path, Array(body.json.utf8), headers: [("Content-Type", "application/json")]), for: path)
        let members = RawJSON.members(harmlessJSON(answer.body)) ?? [:]
        func text(_ name: String) -> String? { members[name].flatMap { RawJSON.string($0) } }
        // It means that the cluster accepted the request, not that it is done.
        return ("\(text("result") ?? "this"): \(text("note") ?? "accepted")\(text("through").map { " (controller \($0))" } ?? "")", Self.line(answer))
    }

    private func expected(_ answer: Answer, for path: String) throws -> Answer {
        guard answer.status != 404 || answer.errorMessage?.hasPrefix("nothing is at") != true else {
            throw Failure(.critical, "\(self.node.base) does not know \(path): it is of an older version, or a proxy is between.")
        }
        return try self.node.expectOK(answer, for: path)
    }

    private static func line(_ answer: Answer) -> String {
        String(decoding: answer.body.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}

/// The fields of a change.
struct ChangeBody: Sendable {
    var node: String?
    var partition: Int?
    var by: String?
    var note: String?

    var json: String {
        var fields: [String] = []
        if let partition { fields.append("\"partition\":\(partition)") }
        for (name, value) in [("node", self.node), ("by", self.by), ("note", self.note)] {
            if let value { fields.append("\"\(name)\":\(RawJSON.quoted(value))") }
        }
        return "{\(fields.joined(separator: ","))}"
    }
}
