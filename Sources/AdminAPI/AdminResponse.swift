package import JSON

/// The response of a node to an ``AdminRequest``.
package enum AdminResponse: Hashable, Sendable {
    case status(ClusterOverview)
    case members(ClusterMembers)
    /// The response to `partitions` and `locate`.
    case partitions(ClusterPartitions)
    case plan(ClusterPlan)
    case events(ClusterEvents)
    /// The response to every request that changes something.
    case accepted(AcceptedChange)
    case failed(AdminError)
    /// The controller's response, unchanged. A controller of another version may send fields that this version does not know.
    case forwarded(json: String)

    package var error: AdminError? { if case .failed(let error) = self { error } else { nil } }

    package static func failed(_ code: AdminError.Code, _ message: String) -> AdminResponse { .failed(AdminError(code, message)) }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        switch self {
        case .status(let overview): overview.write(to: &writer)
        case .members(let members): members.write(to: &writer)
        case .partitions(let partitions): partitions.write(to: &writer)
        case .plan(let plan): plan.write(to: &writer)
        case .events(let events): events.write(to: &writer)
        case .accepted(let change): change.write(to: &writer)
        case .failed(let error): error.write(to: &writer)
        case .forwarded(let json): writer.raw(json)
        }
    }

    /// A response of another node.
    package init(forwarding value: JSONValue) throws(JSONError) {
        self = try AdminError(ifIn: value).map { .failed($0) } ?? .forwarded(json: value.text)
    }
}

/// Why a request was not executed. The gateway decides the HTTP status.
package struct AdminError: Error, Hashable, Sendable {
    package enum Code: String, Hashable, Sendable, CaseIterable {
        case badRequest = "bad_request"
        case notFound = "not_found"
        /// The state of the cluster does not allow the request, or the state changed while the request was executed.
        case conflict
        /// The node has not read the state of the cluster yet.
        case starting
        case noController = "no_controller"
        case noZooKeeper = "no_zookeeper"
        case notAuthorized = "not_authorized"
        /// The node is leaving its cluster.
        case stopping
        /// No response arrived in time. The request may have been executed.
        case timeout

        /// Whether the same request may succeed at another node, or later at this node.
        package var isUnavailable: Bool {
            switch self {
            case .starting, .stopping, .noController, .noZooKeeper, .notAuthorized: true
            case .badRequest, .notFound, .conflict, .timeout: false
            }
        }
    }

    package var code: Code
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.name("error")
            writer.object { writer in
                writer.field("code", self.code.rawValue)
                writer.field("message", self.message)
            }
        }
    }

    /// Nil if the response is not an error. An unknown code counts as a temporary state.
    package init?(ifIn value: JSONValue) throws(JSONError) {
        var object = try value.object()
        guard var error = try object.optional("error")?.object() else { return nil }
        self.init(Code(rawValue: try error.string("code", bytesMax: 100)) ?? .starting, try error.string("message", bytesMax: 100_000))
    }
}

/// The response to a change that the cluster accepted. The change may not be complete yet.
package struct AcceptedChange: Hashable, Sendable {
    /// The ``AdminRequest/sentence`` of the request.
    package var result: String
    /// The controller that executed the request.
    package var through: String
    /// Additional effects of the request, or a sentence that nothing had to change.
    package var note: String?

    package init(result: String, through: String, note: String? = nil) {
        self.result = result
        self.through = through
        self.note = note
    }

    package func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            writer.field("result", self.result)
            writer.field("through", self.through)
            if let note = self.note { writer.field("note", note) }
        }
    }

    package init(_ value: JSONValue) throws(JSONError) {
        var object = try value.object()
        self.init(result: try object.text("result"), through: try object.text("through"), note: try object.optional("note")?.text())
    }
}
