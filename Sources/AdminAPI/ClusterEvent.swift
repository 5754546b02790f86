package import JSON

/// One decision or observation of the cluster: what happened, who requested it, why, and at which version of the view.
package struct ClusterEvent: Hashable, Sendable {
    package enum Kind: Hashable, Sendable {
        case joined, blocked, waiting, evicted, left, sessionLost
        case elected, deposed
        case node, granted, moved, mode, removed
        case operation
        case alarm
        /// A kind of another version that this version does not know, with its name.
        case other(String)
    }

    /// The number of the event. Each node numbers its events from 1.
    package var number: Int64 = 0
    package var kind: Kind
    /// Milliseconds since 1970, by the clock of the node that reports the event.
    package var at: Int64
    /// The node that the event is about; empty for the whole cluster.
    package var node: String
    package var viewVersion: Int64
    package var text: String
    /// Only for an operation: the operator who requested it, and the reason.
    package var by = ""
    package var note = ""
    /// Partitions that changed owners.
    package var transfers = Transfers()

    package init(kind: Kind, at: Int64, node: String, viewVersion: Int64, text: String) {
        self.kind = kind
        self.at = at
        self.node = node
        self.viewVersion = viewVersion
        self.text = text
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("number", self.number)
            writer.field("kind", self.kind.rawValue)
            writer.field("at", self.at)
            writer.field("node", self.node)
            writer.field("view", self.viewVersion)
            writer.field("text", self.text)
            if !self.by.isEmpty { writer.field("by", self.by) }
            if !self.note.isEmpty { writer.field("note", self.note) }
            if self.transfers.count > 0 { self.transfers.write(to: &writer) }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.number = Int64(try object.integer("number"))
        self.kind = try Kind(received: object.text("kind"))
        self.at = Int64(try object.integer("at"))
        self.node = try object.text("node")
        self.viewVersion = Int64(try object.integer("view"))
        self.text = try object.text("text")
        self.by = try object.optional("by")?.text() ?? ""
        self.note = try object.optional("note")?.text() ?? ""
        self.transfers = try Transfers(from: &object)
    }
}

extension ClusterEvent.Kind: RawRepresentable, CaseIterable {
    /// The kinds that this version reports.
    package static let allCases: [Self] = [
        .joined, .blocked, .waiting, .evicted, .left, .sessionLost, .elected, .deposed, .node, .granted, .moved, .mode, .removed, .operation, .alarm,
    ]

    /// Nil for a name that this version does not know.
    package init?(rawValue: String) {
        guard let kind = Self.allCases.first(where: { $0.rawValue == rawValue }) else { return nil }
        self = kind
    }

    /// A name that this version does not know becomes `.other`, unchanged.
    init(received name: String) { self = Self(rawValue: name) ?? .other(name) }

    package var rawValue: String {
        switch self {
        case .joined: "joined"
        case .blocked: "blocked"
        case .waiting: "waiting"
        case .evicted: "evicted"
        case .left: "left"
        case .sessionLost: "session_lost"
        case .elected: "elected"
        case .deposed: "deposed"
        case .node: "node"
        case .granted: "granted"
        case .moved: "moved"
        case .mode: "mode"
        case .removed: "removed"
        case .operation: "operation"
        case .alarm: "alarm"
        case .other(let name): name
        }
    }
}

/// Partitions that changed owners by one decision. The count is exact, but only the first pairs of nodes and their first partitions are listed.
package struct Transfers: Hashable, Sendable {
    package static let pairsMax = 20
    package static let partitionsMax = 20

    package struct Pair: Hashable, Sendable {
        /// Nil for partitions without an owner.
        package var from: String?
        package var to: String
        package var count = 0
        package var partitions: [Int] = []
    }

    package private(set) var count = 0
    private var found: [Pair] = []
    /// Sorted by the names of the nodes.
    package var pairs: [Pair] { self.found.sorted { ($0.from ?? "", $0.to) < ($1.from ?? "", $1.to) } }

    package init() {}

    package mutating func add(_ partition: Int, from: String?, to: String) {
        self.count += 1
        guard let index = self.found.firstIndex(where: { $0.from == from && $0.to == to }) else {
            if self.found.count < Self.pairsMax { self.found.append(Pair(from: from, to: to, count: 1, partitions: [partition])) }
            return
        }
        self.found[index].count += 1
        if self.found[index].partitions.count < Self.partitionsMax { self.found[index].partitions.append(partition) }
    }

    /// The number of partitions as text, such as "85 partitions".
    package var amount: String { "\(self.count) partition\(self.count == 1 ? "" : "s")" }

    /// The destinations as text, such as "43 to n1, 42 to n3". The text is "43 from n2 to n1" if the partitions come from several nodes.
    package var destinations: String {
        let pairs = self.pairs
        let sources = Set(pairs.map(\.from))
        let texts = pairs.prefix(10).map { pair in
            sources.count == 1 ? "\(pair.count) to \(pair.to)" : "\(pair.count) from \(pair.from ?? "none") to \(pair.to)"
        }
        let rest = self.count - pairs.prefix(10).reduce(0) { $0 + $1.count }
        return (texts + (rest > 0 ? ["\(rest) to others"] : [])).joined(separator: ", ")
    }

    /// The one node that got all partitions, or the one node that gave all partitions away. Nil if there is no such node.
    package var node: String? {
        guard self.count == self.found.reduce(0, { $0 + $1.count }), let first = self.found.first else { return nil }
        if self.found.allSatisfy({ $0.to == first.to }) { return first.to }
        return self.found.allSatisfy { $0.from == first.from } ? first.from : nil
    }

    func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.field("count", self.count)
        writer.name("transfers")
        writer.array { writer in
            for pair in self.pairs {
                writer.object { writer in
                    if let from = pair.from { writer.field("from", from) }
                    writer.field("to", pair.to)
                    writer.field("count", pair.count)
                    writer.name("partitions")
                    writer.array { writer in for partition in pair.partitions { writer.integer(partition) } }
                }
            }
        }
    }

    init(from object: inout JSONObject) throws(JSONError) {
        self.count = try object.optional("count")?.integer() ?? 0
        guard self.count > 0 else { return }
        self.found = try object.values("transfers") { value throws(JSONError) in
            var pair = try value.object()
            return Pair(
                from: try pair.optional("from")?.text(), to: try pair.text("to"), count: try pair.integer("count"),
                partitions: try pair.values("partitions") { value throws(JSONError) in try value.index() })
        }
    }
}
