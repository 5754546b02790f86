package import JSON

/// What an operator wants of a node: `/nodes/<id>`. Outlives the node's sessions and the controller's.
package struct NodeRecord: Hashable, Sendable {
    package var desired: Desired { didSet { self.remainder.remove("desired") } }
    package var note: String
    /// Who changed it last, for people.
    package var by: String
    /// Milliseconds since 1970, for people.
    package var at: Int64
    /// What a newer version wrote here and this one only passes on. An unknown wish is read as cordoned: the node keeps what it has until it is set.
    package internal(set) var remainder = JSONRemainder()

    package enum Desired: String, Hashable, Sendable, CaseIterable {
        case active, cordoned, draining, removed
    }

    package static let bytesMax = 10_000
    package static let noteBytesMax = 1000

    package init(desired: Desired = .active, note: String = "", by: String = "", at: Int64 = 0) {
        self.desired = desired
        self.note = note
        self.by = by
        self.at = at
    }

    /// Throws a sentence that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONFailure) {
        var object = try JSONValue(bytes, named: "node", bytesMax: NodeRecord.bytesMax).object()
        var remainder = JSONRemainder()
        self.init(
            desired: try object.name("desired", unknown: .cordoned, remainder: &remainder),
            note: try object.optional("note")?.string(bytesMax: NodeRecord.noteBytesMax) ?? "",
            by: try object.optional("by")?.string(bytesMax: ClusterView.textBytesMax) ?? "",
            at: try object.optional("at")?.integer(in: 0...Int64.max) ?? 0)
        object.rest(into: &remainder)
        self.remainder = remainder
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            if !self.remainder.contains("desired") { writer.field("desired", self.desired.rawValue) }
            writer.field("note", self.note)
            writer.field("by", self.by)
            writer.field("at", self.at)
            writer.fields(self.remainder)
        }
        return writer.bytes
    }
}
