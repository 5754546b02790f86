import AdminAPI
package import ArgumentParser

package struct StatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the status of a node and of its cluster.",
        usage: "realertime status [<options>]",
        discussion: """
            EXAMPLES:
              realertime status
              realertime status --watch
              realertime status -o json --api http://10.0.0.5:8081

            \(Help.exitStatus)
              It follows the health of the node or of its cluster, the worse one;
              with --watch, the last that was seen.
            """)

    @Flag(help: "Show it again every second, in place on a terminal, until Ctrl-C.")
    var watch = false

    @Option(
        name: [.short, .customLong("output")],
        help: "json is the node's response as it came, with the cluster's in the field cluster; with --watch one a line.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long one response may take. (default: 5)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(5)

    @OptionGroup var api: AnyNodeOptions

    package init() {}

    package func validate() throws {
        _ = try self.api.bases()
    }

    package func run() async throws {
        try await reporting {
            let (bases, token) = (try self.api.bases(), try self.api.secret.token())
            return try await withHTTPClient(connect: NodeClient.connectTimeout(within: self.timeout.duration, nodes: bases.count)) { http in
                let node = NodeClient(any: bases, token: token, http: http, timeout: self.timeout.duration)
                let output = self.output
                if self.watch { return try await Watch(output: output).run { try await Self.look(at: node, output) } }
                let (status, text) = try await Self.look(at: node, output)
                try Terminal.standardOutput.write("\(text)\n".utf8)
                return status
            }
        }
    }

    /// The cluster first, if there is one, then the node.
    private static func look(at node: NodeClient, _ output: OutputFormat) async throws -> (CommandStatus, String) {
        async let cluster = StatusView.look(at: node)
        let answer = try node.expectOK(await node.get("/api/status"), for: "/api/status")
        let status = try NodeStatus(json: answer.body)
        let view = try await cluster
        let text = output == .json ? view.json(with: answer.line) : view.table(with: status, on: .standardOutput)
        return (status.exitStatus.worse(view.exitStatus), text)
    }
}
