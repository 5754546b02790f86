import Coordination
import NIOCore
import Pipeline

/// A request about the cluster, read off its path, its query and its body. Pure.
struct ClusterCall: Hashable, Sendable {
    let kind: ClusterQuestion.Kind

    /// What the request's fields ask. `channel` stands for its partition, which only who knows their number can name.
    struct Asked: Hashable, Sendable {
        var question: ClusterQuestion
        var channel: ChannelName?
    }

    static let paths =
        "/api/cluster, /api/members, /api/partitions, /api/locate, /api/plan, /api/events, /api/rebalance, /api/rebalance/pause, /api/rebalance/resume, "
        + "/api/drain, /api/undrain, /api/cordon, /api/uncordon, /api/move, /api/unpin, /api/forget"

    /// Nil if the path is none of these.
    init?(path: String) {
        switch path {
        case "/api/cluster": self.kind = .status
        case "/api/members": self.kind = .members
        case "/api/partitions": self.kind = .partitions
        case "/api/locate": self.kind = .locate
        case "/api/plan": self.kind = .plan
        case "/api/events": self.kind = .events
        case "/api/rebalance": self.kind = .rebalance
        case "/api/rebalance/pause": self.kind = .pause
        case "/api/rebalance/resume": self.kind = .resume
        case "/api/drain": self.kind = .drain
        case "/api/undrain": self.kind = .undrain
        case "/api/cordon": self.kind = .cordon
        case "/api/uncordon": self.kind = .uncordon
        case "/api/move": self.kind = .move
        case "/api/unpin": self.kind = .unpin
        case "/api/forget": self.kind = .forget
        default: return nil
        }
    }

    var methods: [RequestHead.Method] { self.kind.changes ? [.post] : [.get, .head] }
    var allow: String { self.kind.changes ? "POST" : "GET, HEAD" }

    /// Throws a sentence that says which field is wrong.
    func asked(_ request: Request) throws(HTTPFailure) -> Asked {
        self.kind.changes ? Asked(question: try self.change(request)) : try self.look(request.head)
    }

    private func look(_ head: RequestHead) throws(HTTPFailure) -> Asked {
        var asked = Asked(question: ClusterQuestion(self.kind))
        switch self.kind {
        case .locate:
            guard let name = try PercentEncoding.value("channel", in: head.query) else {
                throw .badChannel("name the channel in the query: /api/locate?channel=NAME")
            }
            asked.channel = try PublishRequest.channel(name)
        case .events:
            guard let text = try PercentEncoding.value("after", in: head.query) else { break }
            guard let number = Int64(text), number >= 0 else { throw .badRequest("after is the number of an event, 0 for all of them") }
            asked.question.after = number
        default: break
        }
        return asked
    }

    private func change(_ request: Request) throws(HTTPFailure) -> ClusterQuestion {
        let hasPartition = self.kind == .move || self.kind == .unpin
        let hasNode = self.kind == .move || [.drain, .undrain, .cordon, .uncordon, .forget].contains(self.kind)
        let names = (hasPartition ? ["partition"] : []) + (hasNode ? ["node"] : []) + ["by", "note"]
        let isEmpty = request.body.readableBytes == 0
        let fields = try JSONFields(isEmpty ? .init(string: "{}") : request.body, names: names)
        var question = ClusterQuestion(self.kind)
        if hasPartition { question.partition = try fields.required("partition", try fields.integer("partition", in: 0...(ClusterView.partitionCountMax - 1))) }
        if hasNode {
            let id = try fields.required("node", try fields.string("node"))
            guard ClusterView.isNodeID(id) else { throw .badBody("node is the id of a node, as /api/members lists them") }
            question.node = id
        }
        question.by = try Self.text("by", fields, bytesMax: 64)
        question.note = try Self.text("note", fields, bytesMax: NodeRecord.noteBytesMax)
        return question
    }

    /// Words for people: what would break their terminals is refused.
    private static func text(_ name: String, _ fields: JSONFields, bytesMax: Int) throws(HTTPFailure) -> String? {
        guard let text = try fields.string(name) else { return nil }
        guard text.utf8.count <= bytesMax, text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) else {
            throw .badBody("\(name) has at most \(bytesMax) bytes and no control characters")
        }
        return text
    }
}
