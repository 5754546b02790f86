import AdminAPI
import NIOCore
import Partitioning
import Pipeline

/// A request about the cluster, read off its path, its query and its body. Pure.
struct ClusterCall: Hashable, Sendable {
    let kind: AdminRequest.Kind

    static let paths = AdminRequest.Kind.allCases.map(\.path).joined(separator: ", ")

    /// Nil if the path is none of these.
    init?(path: String) {
        guard let kind = AdminRequest.Kind(path: path) else { return nil }
        self.kind = kind
    }

    var methods: [RequestHead.Method] { self.kind.changes ? [.post] : [.get, .head] }
    var allow: String { self.kind.changes ? "POST" : "GET, HEAD" }

    /// Throws a sentence that says which field is wrong.
    func request(_ request: Request) throws(HTTPFailure) -> AdminRequest {
        self.kind.changes ? try self.change(request) : try self.read(request.head)
    }

    private func read(_ head: RequestHead) throws(HTTPFailure) -> AdminRequest {
        var request = AdminRequest(self.kind)
        switch self.kind {
        case .locate:
            guard let name = try PercentEncoding.value("channel", in: head.query) else {
                throw .badChannel("name the channel in the query: \(self.kind.path)?channel=NAME")
            }
            request.channel = try PublishRequest.channel(name).string
        case .events:
            guard let text = try PercentEncoding.value("after", in: head.query) else { break }
            guard let number = Int64(text), number >= 0 else { throw .badRequest("after is the number of an event, 0 for all of them") }
            request.after = number
        default: break
        }
        return request
    }

    private func change(_ request: Request) throws(HTTPFailure) -> AdminRequest {
        let names = (self.kind.takesPartition ? ["partition"] : []) + (self.kind.takesNode ? ["node"] : []) + ["by", "note"]
        let isEmpty = request.body.readableBytes == 0
        let fields = try JSONFields(isEmpty ? .init(string: "{}") : request.body, names: names)
        var change = AdminRequest(self.kind)
        if self.kind.takesPartition {
            change.partition = try fields.required("partition", try fields.integer("partition", in: 0...(Partitions.countMax - 1)))
        }
        if self.kind.takesNode {
            let id = try fields.required("node", try fields.string("node"))
            guard NodeID.isValid(id) else { throw .badBody("node is the id of a node, as /api/members lists them") }
            change.node = id
        }
        change.by = try Self.text("by", fields, bytesMax: AdminRequest.byBytesMax)
        change.note = try Self.text("note", fields, bytesMax: AdminRequest.noteBytesMax)
        return change
    }

    /// Text for people: what would break their terminals is refused.
    private static func text(_ name: String, _ fields: JSONFields, bytesMax: Int) throws(HTTPFailure) -> String? {
        guard let text = try fields.string(name) else { return nil }
        guard text.utf8.count <= bytesMax, text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw .badBody("\(name) has at most \(bytesMax) bytes and no control characters")
        }
        return text
    }
}
