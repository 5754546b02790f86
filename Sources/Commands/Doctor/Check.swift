import JSON

/// The result of one check.
struct Check: Equatable, Sendable {
    enum Outcome: String, Sendable, Comparable {
        case ok
        /// The check is not possible from this machine.
        case skip
        case warn
        case fail

        private var rank: Int {
            switch self {
            case .ok: 0
            case .skip: 1
            case .warn: 2
            case .fail: 3
            }
        }

        static func < (one: Outcome, other: Outcome) -> Bool { one.rank < other.rank }
    }

    var name: String
    var outcome: Outcome
    var detail: String
    /// What the operator should do. Nil if there is no problem.
    var advice: String?

    func write(to writer: inout JSONWriter<some JSONSink>) {
        writer.object { writer in
            if let advice { writer.field("advice", advice) }
            writer.field("detail", self.detail)
            writer.field("name", self.name)
            writer.field("outcome", self.outcome.rawValue)
        }
    }

    static func ok(_ name: String, _ detail: String) -> Check { Check(name: name, outcome: .ok, detail: detail) }
    static func skip(_ name: String, _ detail: String) -> Check { Check(name: name, outcome: .skip, detail: detail) }
    static func warn(_ name: String, _ detail: String, do advice: String) -> Check { Check(name: name, outcome: .warn, detail: detail, advice: advice) }
    static func fail(_ name: String, _ detail: String, do advice: String) -> Check { Check(name: name, outcome: .fail, detail: detail, advice: advice) }
}

extension Check {
    /// Runs a check. Any error is a failure of the check.
    static func catching(_ name: String, _ body: () async throws -> Check) async -> Check {
        do {
            return try await body()
        } catch {
            return .fail(name, "\(error)", do: "See the node's log.")
        }
    }
}

/// All results of the doctor.
struct Diagnosis: Equatable, Sendable {
    var health: String
    var checks: [Check]
    var exitStatus: CommandStatus

    init(_ checks: [Check], wasReached: Bool) {
        self.checks = checks
        switch checks.map(\.outcome).max() ?? .ok {
        case _ where !wasReached: (self.health, self.exitStatus) = ("unreachable", .unreachable)
        case .ok, .skip: (self.health, self.exitStatus) = ("healthy", .ok)
        case .warn: (self.health, self.exitStatus) = ("degraded", .degraded)
        case .fail: (self.health, self.exitStatus) = ("critical", .critical)
        }
    }
}
