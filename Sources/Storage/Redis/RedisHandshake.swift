import NIOCore

/// The first requests of a connection, and what their replies mean. Pure.
struct RedisHandshake: Sendable {
    private enum Step: Hashable, Sendable {
        case authenticate
        case select
        case name
        case info
        case maxMemoryPolicy
        case appendFsync
        case script
    }

    struct Result: Equatable {
        var verdict: RedisConnectionMachine.Verdict
        var facts: RedisServerFacts?
        /// The SHA-1 of each script, in order, for `EVALSHA`.
        var scriptHashes: [String] = []
    }

    let requests: [RedisRequest]
    private let steps: [Step]
    private let place: String

    init(address: RedisAddress, scripts: [String]) {
        var plan: [(Step, RedisRequest)] = []
        if let password = address.password {
            plan.append((.authenticate, address.user.map { RedisRequest("AUTH", $0, password) } ?? RedisRequest("AUTH", password)))
        }
        if let database = address.database { plan.append((.select, RedisRequest("SELECT", "\(database)"))) }
        plan.append((.name, RedisRequest("CLIENT", "SETNAME", "realertime")))
        plan += Self.factRequests
        plan += scripts.map { (.script, RedisRequest("SCRIPT", "LOAD", $0)) }
        self.place = address.hostAndPort
        self.steps = plan.map(\.0)
        self.requests = plan.map(\.1)
    }

    /// Only the facts, for a connection that is ready.
    init(factsOf address: RedisAddress) {
        self.place = address.hostAndPort
        self.steps = Self.factRequests.map(\.0)
        self.requests = Self.factRequests.map(\.1)
    }

    /// `INFO` takes several sections since 7.0 only, and an older server should be refused with a sentence about its version.
    private static let factRequests: [(Step, RedisRequest)] =
        ["server", "persistence", "replication", "stats", "memory"].map { (.info, RedisRequest("INFO", $0)) } + [
            (.maxMemoryPolicy, RedisRequest("CONFIG", "GET", "maxmemory-policy")), (.appendFsync, RedisRequest("CONFIG", "GET", "appendfsync")),
        ]

    /// An error with which Redis greets a connection that it closes. It comes before any request was read.
    func verdict(onGreeting error: String) -> RedisConnectionMachine.Verdict? {
        if error.hasPrefix("ERR max number of clients") {
            return .unavailable("Redis at \(self.place) has reached its maxclients: raise it, or stop clients that are not needed")
        }
        if error.hasPrefix("DENIED") {
            return .refused("Redis at \(self.place) is in protected mode and accepts only local clients: give it a password")
        }
        return nil
    }

    /// - Parameter replies: one for each request.
    func judge(_ replies: [RedisReply]) -> Result {
        var info: [String] = []
        var settings: [Step: String] = [:]
        var result = Result(verdict: .accepted)
        for (step, reply) in zip(self.steps, replies) {
            if let verdict = self.objection(to: reply, of: step) { return Result(verdict: verdict) }
            switch step {
            case .info: info.append(reply.text ?? "")
            case .maxMemoryPolicy, .appendFsync: settings[step] = RedisServerFacts.setting(reply)
            case .script: result.scriptHashes.append(reply.text ?? "")
            case .authenticate, .select, .name: break
            }
        }
        let facts = RedisServerFacts(info: info, maxMemoryPolicy: settings[.maxMemoryPolicy], appendFsync: settings[.appendFsync])
        result.facts = facts
        if facts.isLoading {
            result.verdict = .unavailable(self.loading)
        } else if let refusal = facts.refusal(at: self.place) {
            result.verdict = .refused(refusal)
        }
        return result
    }

    private func objection(to reply: RedisReply, of step: Step) -> RedisConnectionMachine.Verdict? {
        guard case .error(let text) = reply, let code = reply.errorCode else { return nil }
        switch (step, code) {
        case (.authenticate, _):
            // Only the code: a server without AUTH quotes the password.
            return .refused("Redis at \(self.place) does not accept the user and the password of the URL (\(code.prefix(16)))")
        case (_, "NOAUTH"): return .refused("Redis at \(self.place) requires a password: put it into the URL")
        case (_, "LOADING"): return .unavailable(self.loading)
        case (_, "BUSY"): return .unavailable("Redis at \(self.place) is busy with a script that runs for too long")
        case (.select, _): return .refused("Redis at \(self.place) does not have the database of the URL: \(Self.quoted(text))")
        case (.info, _): return .refused("Redis at \(self.place) does not allow this user INFO: \(Self.quoted(text))")
        // A replica that lost its master refuses scripts, and its role is a better reason.
        case (.script, "MASTERDOWN"): return nil
        case (.script, _): return .refused("Redis at \(self.place) does not accept the log's scripts: \(Self.quoted(text))")
        // A provider or an access list may forbid these.
        case (.name, _), (.maxMemoryPolicy, _), (.appendFsync, _): return nil
        }
    }

    private var loading: String { "Redis at \(self.place) is loading its data from disk. Wait: it becomes ready without action" }

    private static func quoted(_ text: String) -> String { String(text.prefix(200)) }
}
