import Logging
import Sockets

extension ConfigurationKey {
    /// Every key there is.
    static let all = settings + cluster + limits

    static func named(_ name: String) -> ConfigurationKey? { self.byName[name] }

    private static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    /// The keys that are not limits.
    static let settings = [
        ConfigurationKey(
            name: "id", kind: .nodeID, help: "What this node is called in status and metrics.", defaultNote: "the host's name",
            text: { $0.id }),
        ConfigurationKey(
            name: "listen", kind: .address, help: "The subscriber port: where browsers connect. Port 0 takes a free one.",
            text: { $0.listen.description }),
        ConfigurationKey(
            name: "api", kind: .address,
            help: "The API port: where back ends publish and operators look. Needs a token when other machines can reach it.",
            text: { $0.api.description }),
        ConfigurationKey(
            name: "data", kind: .text, help: "The folder of the log. Made if it is not there; one node at a time uses it.",
            text: { $0.data }),
        ConfigurationKey(
            name: "log", kind: .choice(NodeConfiguration.LogKind.allCases.map(\.rawValue)),
            help: "Where history is kept: sqlite in the data folder, or memory, which ends with the process.",
            text: { $0.log.rawValue }),
        ConfigurationKey(
            name: "durability", kind: .choice(NodeConfiguration.Durability.allCases.map(\.rawValue)),
            help: "What an acknowledged event survives: the death of the process, or a power cut (every commit waits for the disk).",
            text: { $0.durability.rawValue }),
        ConfigurationKey(
            name: "loops", kind: .integer(1...64, unit: "loops"), help: "Event loops. More than the processors it may use gain nothing.",
            defaultNote: "the processors that its affinity and its cgroup's quota allow", defaultOrigin: { Processors.ofThisProcess.source },
            text: { String($0.loops) }),
        ConfigurationKey(
            name: "cors-origins", kind: .origins,
            help:
                "Origins whose pages may subscribe, and publish from a browser. The scheme's default port may be left out. "
                + "The API port's own page always may; * allows all to subscribe.",
            text: { $0.corsOrigins.isEmpty ? nil : $0.corsOrigins.joined(separator: ",") }),
        ConfigurationKey(
            name: "api-token", kind: .text,
            help: "What requests on the API port must carry. As a flag other users of the machine can see it: prefer api-token-file.",
            isSecret: true, text: { $0.apiToken }),
        ConfigurationKey(
            name: "api-token-file", kind: .text, help: "A file whose first line is the API token.",
            text: { $0.secretFiles["api-token-file"] }),
        ConfigurationKey(
            name: "log-level", kind: .choice(Logger.Level.allCases.map(\.rawValue)), help: "The least severe message that is logged.",
            text: { $0.logLevel.rawValue }),
    ]
}
