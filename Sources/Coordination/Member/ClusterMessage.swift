import AdminAPI
import JSON

/// A message between nodes, sent over their links: one JSON object with one field that names its kind.
enum ClusterMessage: Sendable {
    /// The sender's view.
    case view(ClusterView)
    /// Requests the receiver's view.
    case pull
    case report(NodeReport)
    /// The sender's configuration, which ZooKeeper has lost or damaged.
    case configuration(ClusterConfiguration)
    /// The controller sends this message after each report, to show that it is alive. The JSON field is `heard`.
    case acknowledged
    /// The controller of this epoch refuses the sender's connections, or has not responded for a while.
    case complaint(epoch: Int32)
    /// The sender leaves because an operator stops it. Sent to every peer, so that neither the present controller nor the next one treats the sender as failed.
    case leaving
    /// An operator's request, forwarded to the controller. The sender chooses the number, and the response repeats it. The JSON field is `ask`.
    case request(number: Int64, AdminRequest)
    /// The controller's response to a forwarded request. The JSON field is `answer`.
    case response(number: Int64, AdminResponse)

    static let bytesMax = 8 * 1024 * 1024

    func payload() throws(JSONError) -> [UInt8] {
        var writer = JSONWriter()
        switch self {
        case .view(let view):
            let text = String(decoding: try view.json(), as: UTF8.self)
            writer.object { writer in
                writer.name("view")
                writer.raw(text)
            }
        case .pull:
            writer.object { $0.field("pull", 1) }
        case .report(let report):
            writer.object { writer in
                writer.name("report")
                report.write(to: &writer)
            }
        case .configuration(let configuration):
            writer.object { writer in
                writer.name("configuration")
                writer.raw(String(decoding: configuration.json, as: UTF8.self))
            }
        case .acknowledged:
            writer.object { $0.field("heard", 1) }
        case .complaint(let epoch):
            writer.object { $0.field("complaint", epoch) }
        case .leaving:
            writer.object { $0.field("leaving", 1) }
        case .request(let number, let request):
            writer.object { writer in
                writer.name("ask")
                request.write(to: &writer)
                writer.field("number", number)
            }
        case .response(let number, let response):
            writer.object { writer in
                writer.name("answer")
                response.write(to: &writer)
                writer.field("number", number)
            }
        }
        return writer.bytes
    }

    /// Nil for a kind of message that only a newer version knows. A newer version must not depend on a response to such a message.
    init?(_ payload: [UInt8]) throws(JSONError) {
        var object = try JSONValue(payload, named: "message", bytesMax: Self.bytesMax).object()
        if let value = object.optional("view") {
            self = .view(try ClusterView(json: Array(value.text.utf8)))
        } else if object.optional("pull") != nil {
            self = .pull
        } else if let value = object.optional("report") {
            self = .report(try NodeReport(value))
        } else if let value = object.optional("configuration") {
            self = .configuration(try ClusterConfiguration(json: Array(value.text.utf8)))
        } else if object.optional("heard") != nil {
            self = .acknowledged
        } else if let value = object.optional("complaint") {
            self = .complaint(epoch: Int32(try value.integer(in: 0...Int64(Int32.max))))
        } else if object.optional("leaving") != nil {
            self = .leaving
        } else if let value = object.optional("ask") {
            self = .request(number: try object.integer("number", in: 0...Int64.max), try AdminRequest(value))
        } else if let value = object.optional("answer") {
            self = .response(number: try object.integer("number", in: 0...Int64.max), try AdminResponse(forwarding: value))
        } else {
            return nil
        }
    }
}
