import Configuration
import Yams

/// The values of one source (flags, environment or file), by key. Each value has an origin.
struct ConfigurationSource: Sendable {
    struct Entry: Sendable, Equatable {
        var texts: [String]
        var origin: ConfigurationOrigin
    }

    var name: String
    private(set) var entries: [String: Entry] = [:]
    /// Problems with entries that belong to no key.
    private(set) var problems: [ConfigurationError.Problem] = []

    /// Variables that other commands read. A node ignores them; they are not an error.
    static let otherVariables: Set<String> = ["REALERTIME_API_URL", "REALERTIME_URL"]
    /// The variable with the path of the configuration file.
    static let fileVariable = "REALERTIME_CONFIG"

    /// The typed values, for a `ConfigReader`. A value that is not allowed is added to `problems`.
    func provider(problems: inout [ConfigurationError.Problem]) -> InMemoryProvider {
        problems += self.problems
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, entry) in self.entries.sorted(by: { $0.key < $1.key }) {
            guard let key = ConfigurationKey.named(name) else { continue }
            if let content = key.content(entry.texts) {
                values[AbsoluteConfigKey([name])] = ConfigValue(content, isSecret: key.isSecret)
            } else {
                problems.append(.init(key.refusal(entry.texts), at: entry.origin))
            }
        }
        return InMemoryProvider(name: self.name, values: values)
    }
}

// MARK: - Flags and environment

extension ConfigurationSource {
    init(flags: [String: String]) {
        self.name = "flags"
        self.entries = Dictionary(
            uniqueKeysWithValues: flags.map { ($0.key, Entry(texts: [$0.value], origin: .flag("--\($0.key)"))) })
    }

    init(environment: [String: String]) {
        self.name = "environment"
        let keys = Dictionary(uniqueKeysWithValues: ConfigurationKey.all.map { ($0.variable, $0.name) })
        let known = Set(keys.keys).union(ConfigurationSource.otherVariables).union([ConfigurationSource.fileVariable])
        for (variable, text) in environment.sorted(by: { $0.key < $1.key }) where variable.uppercased().hasPrefix("REALERTIME_") {
            if let key = keys[variable] {
                // A compose file sets a variable without a value to the empty text.
                if !text.isEmpty { self.entries[key] = Entry(texts: [text], origin: .variable(variable)) }
            } else if !known.contains(variable) {
                let nearest = NearestName.of(variable.uppercased(), among: known.sorted())
                self.problems.append(.init("no such variable" + suggestion(nearest), at: .variable(variable)))
            }
        }
    }
}

// MARK: - File

extension ConfigurationSource {
    /// A YAML or JSON document that maps keys to values. Every JSON document is also a YAML document.
    init(file path: String, text: String) {
        self.name = "file"
        do {
            guard let root = try Yams.compose(yaml: text) else { return }
            guard let mapping = root.mapping else {
                self.problems = [.init("the file must be a mapping of keys to values", at: .file(path: path, line: root.mark?.line ?? 1))]
                return
            }
            for (key, value) in mapping { self.read(key, value, path: path) }
        } catch let error as YamlError {
            self.problems = [.init("the file is neither YAML nor JSON: \(error.problem)", at: .file(path: path, line: error.line))]
        } catch {
            self.problems = [.init("the file is neither YAML nor JSON", at: .file(path: path, line: 1))]
        }
    }

    private mutating func read(_ key: Yams.Node, _ value: Yams.Node, path: String) {
        let origin = ConfigurationOrigin.file(path: path, line: key.mark?.line ?? 1)
        guard let name = key.scalar?.string else {
            self.problems.append(.init("a key must be a text, not a list or a mapping", at: origin))
            return
        }
        guard ConfigurationKey.named(name) != nil else {
            let nearest = NearestName.of(name, among: ConfigurationKey.all.map(\.name))
            self.problems.append(.init("no such key \"\(name)\"" + suggestion(nearest), at: origin))
            return
        }
        if let scalar = value.scalar {
            // `key:` and `key: null` leave the default.
            if value.null != nil { return }
            self.entries[name] = Entry(texts: [scalar.string], origin: origin)
        } else if let sequence = value.sequence, sequence.allSatisfy({ $0.scalar != nil }) {
            self.entries[name] = Entry(texts: sequence.compactMap { $0.scalar?.string }, origin: origin)
        } else {
            self.problems.append(.init("\(name) must be one value or a list of values", at: origin))
        }
    }
}

private func suggestion(_ nearest: String?) -> String {
    nearest.map { "; did you mean \($0)?" } ?? ""
}

extension YamlError {
    fileprivate var line: Int {
        switch self {
        case .scanner(_, _, let mark, _), .parser(_, _, let mark, _), .composer(_, _, let mark, _): mark.line
        case .duplicatedKeysInMapping(_, let context): context.mark.line
        default: 1
        }
    }

    /// The message without the quoted lines of the file that Yams adds. These lines may contain a token.
    fileprivate var problem: String {
        switch self {
        case .scanner(_, let problem, _, _), .parser(_, let problem, _, _), .composer(_, let problem, _, _): problem
        case .reader(let problem, _, _, _): problem
        case .duplicatedKeysInMapping(let duplicates, _): "\(duplicates.joined(separator: ", ")) occurs twice"
        default: "it cannot be read"
        }
    }
}
