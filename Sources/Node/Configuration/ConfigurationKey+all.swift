import Logging
import Sockets
import Storage

extension ConfigurationKey {
    /// All keys.
    static let all = settings + cluster + limits

    static func named(_ name: String) -> ConfigurationKey? { self.byName[name] }

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// The keys that every node has, without the limits.
    static let settings = [
        ConfigurationKey(
            name: "id", kind: .nodeID, help: "The node's name in status and metrics.", defaultNote: "the host's name",
            text: { $0.id }),
        ConfigurationKey(
            name: "listen", kind: .address, help: "The subscriber port: browsers connect here. With port 0 the system chooses a free port.",
            text: { $0.listen.description }),
        ConfigurationKey(
            name: "api", kind: .address,
            help: "The API port: back ends publish here, and operators' commands connect here. A token is required if other machines can reach this port.",
            text: { $0.api.description }),
        ConfigurationKey(
            name: "data", kind: .text,
            help: "The folder of the log on SQLite, and of what a member of a cluster remembers of its cluster. The node creates a missing folder. "
                + "Only one node at a time can use the folder.",
            text: { $0.data }),
        ConfigurationKey(
            name: "log", kind: .choice(NodeConfiguration.LogKind.allCases.map(\.rawValue)),
            help: "Where history is stored: sqlite in the data folder, memory, or redis. History in memory is lost when the process ends. "
                + "A member of a cluster needs redis or memory.",
            defaultNote: "sqlite, or redis if the key redis is set", text: { $0.log.rawValue }),
        ConfigurationKey(
            name: "durability", kind: .choice(Durability.allCases.map(\.rawValue)),
            help: "What an acknowledged event survives: a crash of the process, or a power cut (every commit waits for the disk).",
            text: { $0.durability.rawValue }),
        ConfigurationKey(
            name: "loops", kind: .integer(1...64, unit: "loops"),
            help: "The number of event loops. More loops than the CPU affinity and the cgroup quota allow do not help.",
            defaultNote: "the processors that this process may use", defaultOrigin: { Processors.ofThisProcess.source },
            text: { String($0.loops) }),
        ConfigurationKey(
            name: "cors-origins", kind: .origins,
            help:
                "Origins whose pages may subscribe, and publish from a browser. The scheme's default port may be left out. "
                + "The web page that the API port serves at / is always allowed; * allows all origins to subscribe.",
            text: { $0.corsOrigins.isEmpty ? nil : $0.corsOrigins.joined(separator: ",") }),
        ConfigurationKey(
            name: "api-token", kind: .text,
            help:
                "Every request on the API port must contain this token. Other users of the machine can see the value of a flag: prefer api-token-file.",
            isSecret: true, text: { $0.apiToken }),
        ConfigurationKey(
            name: "api-token-file", kind: .text, help: "A file whose first line is the API token.",
            text: { $0.secretFiles["api-token-file"] }),
        ConfigurationKey(
            name: "log-level", kind: .choice(Logger.Level.allCases.map(\.rawValue)), help: "Messages below this level are not logged.",
            text: { $0.logLevel.rawValue }),
    ]
}
