package import JSON

/// An operator's request to a cluster. Any node of the cluster accepts it, and the controller responds.
package struct AdminRequest: Hashable, Sendable {
    package enum Kind: String, Hashable, Sendable, CaseIterable {
        case status, members, partitions, locate, plan, events
        case rebalance, pause, resume, drain, undrain, cordon, uncordon, move, unpin, forget

        /// Whether the request changes the cluster. A request that changes the cluster needs the API token.
        package var changes: Bool {
            switch self {
            case .status, .members, .partitions, .locate, .plan, .events: false
            case .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget: true
            }
        }

        /// The path of the request on any node.
        package var path: String {
            switch self {
            case .status: "/api/cluster"
            case .pause: "/api/rebalance/pause"
            case .resume: "/api/rebalance/resume"
            case .members, .partitions, .locate, .plan, .events, .rebalance, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget:
                "/api/\(self.rawValue)"
            }
        }

        /// Nil if no kind of request has this path.
        package init?(path: String) {
            guard let kind = Self.allCases.first(where: { $0.path == path }) else { return nil }
            self = kind
        }

        /// Whether the body of the request names a node.
        package var takesNode: Bool {
            switch self {
            case .drain, .undrain, .cordon, .uncordon, .move, .forget: true
            case .status, .members, .partitions, .locate, .plan, .events, .rebalance, .pause, .resume, .unpin: false
            }
        }

        /// Whether the body of the request names a partition.
        package var takesPartition: Bool { self == .move || self == .unpin }
    }

    /// The maximum number of bytes of `by`, and of `note`.
    package static let byBytesMax = 64
    package static let noteBytesMax = 1000

    package var kind: Kind
    /// The node to change, or the target of a move.
    package var node: String?
    package var partition: Int?
    /// For `locate`: the channel of the partition. The response repeats it.
    package var channel: String?
    /// For `events`: only events after this number.
    package var after: Int64?
    /// The name of the operator, for the history.
    package var by: String?
    package var note: String?

    package init(
        _ kind: Kind, node: String? = nil, partition: Int? = nil, channel: String? = nil, after: Int64? = nil, by: String? = nil, note: String? = nil
    ) {
        self.kind = kind
        self.node = node
        self.partition = partition
        self.channel = channel
        self.after = after
        self.by = by
        self.note = note
    }

    /// Writes the request as one node forwards it to another node.
    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("do", self.kind.rawValue)
            self.writeFields(to: &writer)
        }
    }

    /// The body of an HTTP request. The kind is in the path.
    package func writeBody(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in self.writeFields(to: &writer) }
    }

    private func writeFields(to writer: inout JSONWriter<some JSONSink>) {
        if let partition = self.partition { writer.field("partition", partition) }
        if let node = self.node { writer.field("node", node) }
        if let channel = self.channel { writer.field("channel", channel) }
        if let after = self.after { writer.field("after", after) }
        if let by = self.by { writer.field("by", by) }
        if let note = self.note { writer.field("note", note) }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        let name = try object.string("do", bytesMax: 40)
        guard let kind = Kind(rawValue: name) else { throw JSONError("\(value.name).do is \(name.debugDescription), which this version does not support") }
        self.init(
            kind, node: try object.optional("node")?.string(bytesMax: NodeID.bytesMax), partition: try object.optional("partition")?.index(),
            channel: try object.optional("channel")?.string(bytesMax: 1000), after: try object.optional("after")?.integer(in: 0...Int64.max),
            by: try object.optional("by")?.string(bytesMax: Self.byBytesMax), note: try object.optional("note")?.string(bytesMax: Self.noteBytesMax))
    }

    /// The effect of the request in a few words, for the history and for the operator.
    package var sentence: String {
        let subject = self.partition.map { " \($0)" } ?? self.node.map { " \($0)" } ?? ""
        return self.kind == .move ? "move \(self.partition ?? -1) to \(self.node ?? "?")" : self.kind.rawValue + subject
    }
}
