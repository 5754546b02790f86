import AdminAPI
import ArgumentParser
import Options

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Options of every command about the cluster.
struct ClusterOptions: ParsableArguments {
    @Option(name: [.short, .customLong("output")], help: "json prints the node's response unchanged, on one line.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time limit for one response. (default: 10)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(10)

    @OptionGroup var api: AnyNodeOptions

    func validate() throws {
        _ = try self.api.bases()
    }

    /// Runs a command's body with a client for the node.
    func run(_ body: (ClusterClient) async throws -> CommandStatus) async throws {
        try await reporting {
            try await self.api.withClient(timeout: self.timeout.duration) { try await body(ClusterClient(node: $0)) }
        }
    }

    /// Prints one report, and exits with its status.
    func show<Report: ClusterReport>(
        _ type: Report.Type, at path: String = Report.kind.path, on terminal: Terminal = .standardOutput,
        as table: (Report, Terminal) -> String = { $0.table(on: $1) }
    ) async throws {
        try await self.run { cluster in
            let fetched = try await cluster.fetch(type, at: path)
            let text = self.output == .json ? fetched.json : table(fetched.report, terminal)
            try Terminal.standardOutput.write("\(text)\n".utf8)
            return fetched.report.exitStatus
        }
    }
}

/// Options of every command that prints a table.
struct TableOptions: ParsableArguments {
    @Flag(
        name: [.customShort("w"), .long], help: "Show all columns of the table, even if the terminal is too narrow. A file or a pipe always gets all columns.")
    var wide = false

    var terminal: Terminal { .standardOutput.wide(self.wide) }
}

/// Options of every command that makes a change.
struct ChangeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Your name. The cluster's events show this name with the change. (default: $USER)", valueName: "name"))
    var by: String?

    @Option(help: ArgumentHelp("The reason for the change. The cluster's events and status show it.", valueName: "text"))
    var note: String?

    func request(_ kind: AdminRequest.Kind, node: String? = nil, partition: Int? = nil) -> AdminRequest {
        let user = ProcessInfo.processInfo.environment.nonEmpty("USER").map { String($0.prefix(16)) }
        return AdminRequest(kind, node: node, partition: partition, by: self.by ?? user, note: self.note)
    }
}

/// Options of every command that waits until the cluster has executed its request.
struct WaitOptions: ParsableArguments {
    @Flag(help: "Exit when the cluster has accepted the request, before it is executed.")
    var noWait = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Stop waiting after this time and exit with status 1. The cluster continues to execute the request. (default: no limit)", valueName: "seconds"),
        transform: Seconds.init(text:))
    var within: Seconds?
}
