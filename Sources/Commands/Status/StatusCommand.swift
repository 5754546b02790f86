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
              If the health of the node and of the cluster differ, the worse one counts.
              With --watch, the exit status is that of the last report.
            """)

    @Flag(help: ArgumentHelp(Help.watch))
    var watch = false

    @Option(
        name: [.short, .customLong("output")],
        help: "json prints the node's response on one line, and adds the cluster's response as the field cluster.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time limit for one response. (default: 5)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(5)

    @OptionGroup var api: AnyNodeOptions

    package init() {}

    package func validate() throws {
        _ = try self.api.bases()
    }

    package func run() async throws {
        try await reporting {
            try await self.api.withClient(timeout: self.timeout.duration) { node in
                let output = self.output
                if self.watch { return try await Watch(output: output).run { try await Self.fetch(from: node, output) } }
                let (status, text) = try await Self.fetch(from: node, output)
                try Terminal.standardOutput.write("\(text)\n".utf8)
                return status
            }
        }
    }

    /// The exit status and the output: the cluster's section, if the node is in a cluster, and the node's section.
    private static func fetch(from node: NodeClient, _ output: OutputFormat) async throws -> (CommandStatus, String) {
        async let section = ClusterSection.fetch(from: node)
        let response = try await node.expect(NodeStatus.path)
        let status = try NodeStatus(json: response.body)
        let cluster = try await section
        let text = output == .json ? cluster.json(with: response.line) : cluster.table(with: status, on: .standardOutput)
        return (status.exitStatus.worse(cluster.exitStatus), text)
    }
}
