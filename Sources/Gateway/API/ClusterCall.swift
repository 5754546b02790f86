import AdminAPI
import NIOCore
import Partitioning
import Pipeline

/// An operator's request to the cluster, read from its path, query and body. Pure.
struct ClusterCall: Hashable, Sendable {
    let kind: AdminRequest.Kind

    static let paths = AdminRequest.Kind.allCases.map(\.path).joined(separator: ", ")

    /// Nil if the path is not one of ``paths``.
    init?(path: String) {
        guard let kind = AdminRequest.Kind(path: path) else { return nil }
        self.kind = kind
    }

    var methods: [RequestHead.Method] { self.kind.changes ? [.post] : [.get, .head] }
    var allow: String { self.kind.changes ? "POST" : "GET, HEAD" }

    /// Throws an error whose message names the invalid field.
    func request(_ request: Request) throws(HTTPError) -> AdminRequest {
        self.kind.changes ? try self.change(request) : try self.read(request.head)
    }

    private func read(_ head: RequestHead) throws(HTTPError) -> AdminRequest {
        var request = AdminRequest(self.kind)
        switch self.kind {
        case .locate:
            guard let name = try PercentEncoding.value("channel", in: head.query) else {
                throw .badChannel("add the channel to the query: \(self.kind.path)?channel=NAME")
            }
            request.channel = try PublishRequest.channel(name).string
        case .events:
            guard let text = try PercentEncoding.value("after", in: head.query) else { break }
            guard let number = Int64(text), number >= 0 else {
                throw .badRequest("the query parameter \"after\" must be the number of an event, or 0 for all events")
            }
            request.after = number
        default: break
        }
        return request
    }

    private func change(_ request: Request) throws(HTTPError) -> AdminRequest {
        let names = (self.kind.takesPartition ? ["partition"] : []) + (self.kind.takesNode ? ["node"] : []) + ["by", "note"]
        let isEmpty = request.body.readableBytes == 0
        let fields = try JSONFields(isEmpty ? .init(string: "{}") : request.body, names: names)
        var change = AdminRequest(self.kind)
        if self.kind.takesPartition {
            change.partition = try fields.required("partition", try fields.integer("partition", in: 0...(Partitions.countMax - 1)))
        }
        if self.kind.takesNode {
            let id = try fields.required("node", try fields.string("node"))
            guard NodeID.isValid(id) else { throw .badBody("the field \"node\" must be the id of a node from /api/members") }
            change.node = id
        }
        change.by = try Self.text("by", fields, bytesMax: AdminRequest.byBytesMax)
        change.note = try Self.text("note", fields, bytesMax: AdminRequest.noteBytesMax)
        return change
    }

    /// Text for people. Control characters are refused, because a terminal that shows the text would execute them.
    private static func text(_ name: String, _ fields: JSONFields, bytesMax: Int) throws(HTTPError) -> String? {
        guard let text = try fields.string(name) else { return nil }
        guard text.utf8.count <= bytesMax, text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw .badBody("the field \"\(name)\" must have at most \(bytesMax) bytes and no control characters")
        }
        return text
    }
}
