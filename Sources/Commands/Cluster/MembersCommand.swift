import AdminAPI
package import ArgumentParser

package struct MembersCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "members",
        abstract: "Show the cluster's nodes: state, partitions, load, ZooKeeper session, and which nodes they reach.",
        usage: "realertime members [<options>]",
        discussion: """
            EXAMPLES:
              realertime members
              realertime members --watch
              realertime members -w --api 10.0.0.5:8081,10.0.0.6:8081

            The command can use any node, because the node gets the report from the controller. The last line names the controller.

            COLUMN ST (two letters):
              1st: U up, D down, F fenced, S suspect, ? unknown
              2nd: A active, J joining, C cordoned, D draining, E empty (drained),
                   R being removed

            COLUMN REACHES:
              2/3 means that the node reaches 2 of the 3 other nodes.

            \(Help.exitStatus)
              1 means that a node is down, fenced, joining, suspect or unknown.
            """)

    @Flag(help: ArgumentHelp(Help.watch))
    var watch = false

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        let terminal = self.table.terminal
        guard self.watch else { return try await self.options.show(ClusterMembers.self, on: terminal) }
        let output = self.options.output
        try await self.options.run { cluster in
            try await Watch(output: output).run {
                let fetched = try await cluster.fetch(ClusterMembers.self)
                return (fetched.report.exitStatus, output == .json ? fetched.json : fetched.report.table(on: terminal))
            }
        }
    }
}
