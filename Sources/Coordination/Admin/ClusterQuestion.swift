import JSON

/// What an operator asks of a cluster, at any of its nodes. The controller answers.
package struct ClusterQuestion: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case status, members, partitions, locate, plan, events
        case rebalance, pause, resume, drain, undrain, cordon, uncordon, move, unpin, forget

        /// Whether it changes something, so that it needs the token.
        package var changes: Bool {
            switch self {
            case .status, .members, .partitions, .locate, .plan, .events: false
            case .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget: true
            }
        }
    }

    package var kind: Kind
    /// Whom it is about, or where to.
    package var node: String?
    package var partition: Int?
    /// For `events`: those after this number.
    package var after: Int64?
    /// Who asks, for the history.
    package var by: String?
    package var note: String?

    package init(_ kind: Kind, node: String? = nil, partition: Int? = nil, after: Int64? = nil, by: String? = nil, note: String? = nil) {
        self.kind = kind
        self.node = node
        self.partition = partition
        self.after = after
        self.by = by
        self.note = note
    }

    func write(to writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("do", self.kind.rawValue)
            if let node = self.node { writer.field("node", node) }
            if let partition = self.partition { writer.field("partition", partition) }
            if let after = self.after { writer.field("after", after) }
            if let by = self.by { writer.field("by", by) }
            if let note = self.note { writer.field("note", note) }
        }
    }

    init(_ value: JSONValue) throws(JSONFailure) {
        var object = try value.object()
        let name = try object.string("do", bytesMax: 40)
        guard let kind = Kind(rawValue: name) else { throw JSONFailure("\(value.name).do is \(name.debugDescription), which this version cannot do") }
        try self.init(kind, fields: &object)
    }

    private init(_ kind: Kind, fields object: inout JSONObject) throws(JSONFailure) {
        self.init(
            kind, node: try object.optional("node")?.string(bytesMax: 64),
            partition: try object.optional("partition").map { (value) throws(JSONFailure) in
                Int(try value.integer(in: 0...Int64(ClusterView.partitionCountMax)))
            },
            after: try object.optional("after")?.integer(in: 0...Int64.max), by: try object.optional("by")?.string(bytesMax: 64),
            note: try object.optional("note")?.string(bytesMax: NodeRecord.noteBytesMax))
    }
}

/// A status as HTTP has them and a JSON object.
package struct ClusterAnswer: Hashable, Sendable {
    package var status: Int
    package var body: String

    package init(status: Int, body: String) {
        self.status = status
        self.body = body
    }

    static func failure(_ status: Int, _ code: String, _ message: String) -> ClusterAnswer {
        var writer = JSONWriter()
        writer.object { writer in
            writer.name("error")
            writer.object { writer in
                writer.field("code", code)
                writer.field("message", message)
            }
        }
        return ClusterAnswer(status: status, body: String(decoding: writer.bytes, as: UTF8.self))
    }
}
