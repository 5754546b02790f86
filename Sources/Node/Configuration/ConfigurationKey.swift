import AdminAPI
import Configuration
import Gateway
import Sockets

/// One key of a node's configuration. Its flag is `--name`, its variable `REALERTIME_NAME`, its key in a file `name`.
struct ConfigurationKey: Sendable {
    enum Kind: Sendable {
        case text
        case nodeID
        case address
        case origins
        /// URLs of Redis. They may contain passwords, so a refused value is not quoted.
        case servers
        case choice([String])
        case integer(ClosedRange<Int>, unit: String)
        case number(ClosedRange<Double>)
    }

    var name: String
    var kind: Kind
    /// The meaning of the key. For a limit, also what happens above the limit.
    var help: String
    var isSecret = false
    /// Describes a default that depends on the machine.
    var defaultNote: String?
    /// The source of a default that depends on the machine.
    var defaultOrigin: (@Sendable () -> String)?
    /// The text of the value in a configuration. Nil if the configuration has no value.
    var text: @Sendable (NodeConfiguration) -> String?

    /// The allowed values, in words.
    var allowed: String {
        switch self.kind {
        case .text: "text"
        case .nodeID: "1 to 64 characters of A-Z a-z 0-9 _ . -, but not . or .."
        case .address: "host:port or [v6]:port"
        case .origins: "origins (scheme://host[:port]) separated by commas, or *"
        case .servers: "redis://[[user]:password@]host[:6379][/database] or rediss://…, separated by commas"
        case .choice(let choices): choices.joined(separator: " or ")
        case .integer(let range, let unit): "\(range.lowerBound) to \(range.upperBound) \(unit)"
        case .number(let range): "\(Int(range.lowerBound)) to \(Int(range.upperBound)), decimals allowed"
        }
    }

    /// The default, in words.
    var preset: String? { self.defaultNote ?? self.text(ConfigurationKey.defaults) }

    /// Created only once, because a new configuration reads the number of processors from the kernel.
    private static let defaults = NodeConfiguration()

    var variable: String { ConfigurationKey.variable(self.name) }

    static func variable(_ name: String) -> String {
        "REALERTIME_" + name.uppercased().map { $0 == "-" ? "_" : String($0) }.joined()
    }
}

// MARK: - Reading a value

extension ConfigurationKey {
    /// The value in the type that `ConfigReader` expects. Nil if the text is not allowed.
    func content(_ texts: [String]) -> ConfigContent? {
        if case .origins = self.kind {
            let origins = texts.flatMap { $0.split(separator: ",") }.map { trimmed($0) }.filter { !$0.isEmpty }
            return origins.allSatisfy(Origins.isOrigin) ? .stringArray(origins) : nil
        }
        if case .servers = self.kind { return texts.isEmpty || texts.contains("") ? nil : .string(texts.joined(separator: ",")) }
        guard texts.count == 1 else { return nil }
        let text = texts[0]
        switch self.kind {
        case .text:
            return text.isEmpty ? nil : .string(text)
        case .nodeID:
            return NodeID.isValid(text) ? .string(text) : nil
        case .address:
            return ListenAddress(text) == nil ? nil : .string(text)
        case .choice(let choices):
            return choices.contains(text) ? .string(text) : nil
        case .integer(let range, _):
            return Int(text).flatMap { range.contains($0) ? .int($0) : nil }
        case .number(let range):
            return Double(text).flatMap { range.contains($0) ? .double($0) : nil }
        case .origins, .servers:
            return nil
        }
    }

    /// Why the value is refused, and what is allowed. Never shows a secret.
    func refusal(_ texts: [String]) -> String {
        if self.isSecret { return "\(self.name) must be a single text that is not empty" }
        if case .servers = self.kind { return "\(self.name) cannot have this value: allowed is \(self.allowed)" }
        let given = texts.joined(separator: ",")
        return "\(self.name) cannot be \"\(given)\": allowed is \(self.allowed)"
    }

    private func trimmed(_ text: Substring) -> String {
        String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
    }
}
