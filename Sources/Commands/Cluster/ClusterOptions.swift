import AdminAPI
import ArgumentParser

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Options of every command about the cluster.
struct ClusterOptions: ParsableArguments {
    @Option(name: [.short, .customLong("output")], help: "json is the node's response as it came, one a line.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long one response may take. (default: 10)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(10)

    @OptionGroup var api: AnyNodeOptions

    func validate() throws {
        _ = try self.api.bases()
    }

    /// Runs a command's body with a client for the node.
    func run(_ body: (ClusterClient) async throws -> CommandStatus) async throws {
        try await reporting {
            let (bases, token) = (try self.api.bases(), try self.api.secret.token())
            return try await withHTTPClient(connect: NodeClient.connectTimeout(within: self.timeout.duration, nodes: bases.count)) { http in
                try await body(ClusterClient(node: NodeClient(any: bases, token: token, http: http, timeout: self.timeout.duration)))
            }
        }
    }

    /// Prints one report, and exits with its status.
    func show<Report: ClusterReport>(
        _ type: Report.Type, at path: String = Report.kind.path, on terminal: Terminal = .standardOutput,
        as table: (Report, Terminal) -> String = { $0.table(on: $1) }
    ) async throws {
        try await self.run { cluster in
            let look = try await cluster.look(type, at: path)
            let text = self.output == .json ? look.json : table(look.report, terminal)
            try Terminal.standardOutput.write("\(text)\n".utf8)
            return look.report.exitStatus
        }
    }
}

/// Options of every command that prints a table.
struct TableOptions: ParsableArguments {
    @Flag(name: [.customShort("w"), .long], help: "All columns of the table, however narrow the terminal is. Elsewhere than on a terminal it always has all.")
    var wide = false

    var terminal: Terminal { .standardOutput.wide(self.wide) }
}

/// Options of every command that makes a change.
struct ChangeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Who requests it, for the cluster's events. (default: $USER)", valueName: "name"))
    var by: String?

    @Option(help: ArgumentHelp("Why, for the cluster's events and its status.", valueName: "text"))
    var note: String?

    func request(_ kind: AdminRequest.Kind, node: String? = nil, partition: Int? = nil) -> AdminRequest {
        let user = ProcessInfo.processInfo.environment["USER"].flatMap { $0.isEmpty ? nil : String($0.prefix(16)) }
        return AdminRequest(kind, node: node, partition: partition, by: self.by ?? user, note: self.note)
    }
}

/// Options of every command that waits for the cluster.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Only request it, and do not wait until it is done.")
    var noWait = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Stop waiting after this time, with status 1; the cluster continues. (default: no limit)", valueName: "seconds"),
        transform: Seconds.init(text:))
    var within: Seconds?
}
