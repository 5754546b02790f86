import AdminAPI
package import ArgumentParser

package struct PlanCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show the moves that a rebalance would make. Changes nothing.",
        usage: "realertime plan [<options>]",
        discussion: """
            EXAMPLES:
              realertime plan
              realertime plan -o json

            The summary also shows the lower bound: the smallest number of moves that could balance the cluster.

            EXIT STATUS:
              0 success
              1 degraded, or a request cannot be executed, such as a pin to a node that
                is down
              2 the cluster makes no decisions, or the node refused the request
              3 the node cannot be reached
              64 wrong usage
            """)

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        try await self.options.show(ClusterPlan.self, on: self.table.terminal)
    }
}
