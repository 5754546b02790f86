import AdminAPI
package import JSON

/// The desired state of a node, requested by an operator: `/nodes/<id>`. Survives the sessions of the node and of the controller.
package struct NodeRecord: Hashable, Sendable {
    package var desired: Desired { didSet { self.remainder.remove("desired") } }
    package var note: String
    /// Who last changed the desired state, for people.
    package var by: String
    /// Milliseconds since 1970, for people.
    package var at: Int64
    /// Incremented by every change. A lower revision means that ZooKeeper has lost a record.
    package var revision: Int64
    /// Fields of a newer version, which are kept unchanged. An unknown desired state is read as cordoned: the node keeps its partitions and gains none until it
    /// is set again.
    package internal(set) var remainder = JSONRemainder()

    package enum Desired: String, Hashable, Sendable, CaseIterable {
        case active, cordoned, draining, removed
    }

    package static let bytesMax = 10_000
    package static let noteBytesMax = AdminRequest.noteBytesMax

    package init(desired: Desired = .active, note: String = "", by: String = "", at: Int64 = 0, revision: Int64 = 0) {
        self.desired = desired
        self.note = note
        self.by = by
        self.at = at
        self.revision = revision
    }

    /// Throws a message that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONError) {
        try self.init(try JSONValue(bytes, named: "node", bytesMax: NodeRecord.bytesMax))
    }

    init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        var remainder = JSONRemainder()
        self.init(
            desired: try object.name("desired", unknown: .cordoned, remainder: &remainder),
            note: try object.optional("note")?.string(bytesMax: NodeRecord.noteBytesMax) ?? "",
            by: try object.optional("by")?.string(bytesMax: ClusterView.textBytesMax) ?? "",
            at: try object.optional("at")?.integer(in: 0...Int64.max) ?? 0,
            revision: try object.optional("rev")?.integer(in: 0...Int64.max - ClusterView.headroom) ?? 0)
        object.rest(into: &remainder)
        self.remainder = remainder
    }

    /// The short form for the view, which must have space for the records of a thousand nodes.
    var brief: NodeRecord {
        var brief = self
        if brief.note.utf8.count > 200 { brief.note = String(decoding: brief.note.utf8.prefix(200), as: UTF8.self) + "…" }
        guard brief.json.count > 800 else { return brief }
        return NodeRecord(desired: self.desired, note: brief.note, by: self.by, at: self.at, revision: self.revision)
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            if !self.remainder.contains("desired") { writer.field("desired", self.desired.rawValue) }
            writer.field("note", self.note)
            writer.field("by", self.by)
            writer.field("at", self.at)
            if self.revision > 0 { writer.field("rev", self.revision) }
            writer.fields(self.remainder)
        }
        return writer.bytes
    }

    /// Who requested the desired state, and why, for people.
    var request: String { Self.request(by: self.by, note: self.note) }

    static func request(by: String, note: String) -> String {
        "requested by \(by.isEmpty ? "an operator" : by)" + (note.isEmpty ? "" : " (\(note))")
    }
}
