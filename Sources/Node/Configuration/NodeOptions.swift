package import ArgumentParser

/// The flags of a node: one flag for each key of its configuration, and a flag for the configuration file.
package struct NodeOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A YAML or JSON file with these keys. Each key is also a variable, REALERTIME_KEY. Variables take precedence over the file, and flags over both. (env: REALERTIME_CONFIG)",
            valueName: "file")
    )
    package var config: String?

    @OptionGroup(title: "Node")
    private var settings: KeyOptions<SettingKeys>

    @OptionGroup(title: "Cluster")
    private var cluster: KeyOptions<ClusterKeys>

    @OptionGroup(title: "Limits")
    private var limits: KeyOptions<LimitKeys>

    package init() {}

    /// The given values, by key.
    package var values: [String: String] {
        self.settings.values.merging(self.cluster.values) { given, _ in given }.merging(self.limits.values) { given, _ in given }
    }
}

/// Keys and their flags. Created once, because ArgumentParser reads them many times in one run.
protocol KeyTable: Sendable {
    static var flags: [(key: String, option: Option<String?>)] { get }
}

enum SettingKeys: KeyTable {
    static let flags = ConfigurationKey.settings.map { (key: $0.name, option: $0.option) }
}

enum ClusterKeys: KeyTable {
    static let flags = ConfigurationKey.cluster.map { (key: $0.name, option: $0.option) }
}

enum LimitKeys: KeyTable {
    static let flags = ConfigurationKey.limits.map { (key: $0.name, option: $0.option) }
}

/// A flag for each key of a table.
///
/// ArgumentParser finds a type's flags in its mirror, which has one child for each property wrapper, and reads their values with `init(from:)`.
/// Here the table provides both, so that the name, help and range of a key are defined once. Values stay text, because `ConfigurationSource` checks flags,
/// variables and the file in the same way.
struct KeyOptions<Table: KeyTable>: ParsableArguments, CustomReflectable {
    private(set) var values: [String: String] = [:]

    init() {}

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: AnyName.self)
        for (key, _) in Table.flags {
            self.values[key] = try container.decode(Option<String?>.self, forKey: AnyName(stringValue: key)).wrappedValue
        }
    }

    var customMirror: Mirror {
        Mirror(self, children: Table.flags.map { (label: $0.key, value: $0.option) }, displayStyle: .struct)
    }

    private struct AnyName: CodingKey {
        var stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }
}

extension ConfigurationKey {
    fileprivate var option: Option<String?> {
        var notes: [String] = []
        if case .integer = self.kind { notes.append(self.allowed) }
        if let preset = self.preset { notes.append("default: \(preset)") }
        let help = notes.isEmpty ? self.help : "\(self.help) (\(notes.joined(separator: "; ")))"
        return Option(name: .customLong(self.name), help: ArgumentHelp("\(help)", valueName: self.valueName))
    }

    private var valueName: String {
        switch self.kind {
        // The last word of the key of a secret is its kind: api-token, link-secret.
        case .text: self.isSecret ? String(self.name.split(separator: "-").last ?? "secret") : self.name == "zookeeper" ? "servers" : "path"
        case .servers: "urls"
        case .nodeID: "name"
        case .address: "host:port"
        case .origins: "origins"
        case .choice(let choices): choices.count > 3 ? "level" : choices.joined(separator: "|")
        case .integer(_, let unit): unit
        case .number: "number"
        }
    }
}
