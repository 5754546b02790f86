import AdminAPI
package import ArgumentParser

package struct PlanCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "plan",
        abstract: "Show what a rebalance would move, and the least that any could. Changes nothing.",
        usage: "realertime plan [<options>]",
        discussion: """
            EXAMPLES:
              realertime plan
              realertime plan -o json

            \(Help.exitStatus)
              1 when something was asked for that cannot be done,
              such as a pin to a node that is away.
            """)

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        try await self.options.show(ClusterPlan.self, on: self.table.terminal)
    }
}
