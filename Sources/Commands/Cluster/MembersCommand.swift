import AdminAPI
package import ArgumentParser

package struct MembersCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "members",
        abstract: "Show the cluster's nodes: state, share, load, session, and who sees whom.",
        usage: "realertime members [<options>]",
        discussion: """
            EXAMPLES:
              realertime members
              realertime members --watch
              realertime members -w --api 10.0.0.5:8081,10.0.0.6:8081

            Any node answers for the whole cluster, through the controller, which the last line names.

            ST:
              U up, D down, F fenced, S suspect, ? not known;
              A active, J joining, C cordoned, D draining, E drained, R to be removed.

            \(Help.exitStatus)
              1 when a node is down, fenced, joining, suspect or not known.
            """)

    @Flag(help: "Show them again every second, in place on a terminal, until Ctrl-C.")
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
                let look = try await cluster.look(ClusterMembers.self)
                return (look.report.exitStatus, output == .json ? look.json : look.report.table(on: terminal))
            }
        }
    }
}
