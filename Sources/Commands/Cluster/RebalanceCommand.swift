import AdminAPI
import JSON
package import ArgumentParser

package struct RebalanceCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rebalance",
        abstract: "Give every node its share of the partitions, with as few moves as possible.",
        usage: """
            realertime rebalance [<options>]
            realertime rebalance <subcommand>
            """,
        discussion: """
            EXAMPLES:
              realertime rebalance
              realertime rebalance --dry-run
              realertime rebalance pause --note "upgrade of rack 3"
              realertime rebalance resume

            The command shows the plan, starts the moves, and waits until they are complete. The cluster also rebalances automatically \
            when a node joins or fails, unless rebalancing is paused. `realertime rebalance` ends the pause. Ctrl-C stops only the command, not the moves. \
            With -o json the plan is in the field plan of the response.

            \(Help.waitExitStatus)
              1 also means that a request cannot be executed, such as a pin to a node
              that is down.
            """,
        subcommands: [RunCommand.self, PauseCommand.self, ResumeCommand.self], defaultSubcommand: RunCommand.self)

    package init() {}

    struct RunCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run", abstract: "Rebalance now.", usage: "realertime rebalance [<options>]")

        @Flag(help: "Only show the plan, like realertime plan.")
        var dryRun = false

        @OptionGroup var change: ChangeOptions
        @OptionGroup var waiting: WaitOptions
        @OptionGroup var table: TableOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            let terminal = self.table.terminal
            if self.dryRun { return try await self.options.show(ClusterPlan.self, on: terminal) }
            try await self.options.run { cluster in
                let plan = try await cluster.fetch(ClusterPlan.self)
                let isJSON = self.options.output == .json
                // The table is printed before the moves start. JSON output is one object that includes the plan.
                if !isJSON { try terminal.write("\(plan.report.table(on: terminal))\n".utf8) }
                let (text, json) = try await cluster.change(self.change.request(.rebalance))
                try terminal.write("\(isJSON ? Self.object(json, plan: plan.json) : terminal.sentence(text))\n".utf8)
                if plan.report.head.mode == "maintenance" { Terminal.standardError.printSentence("Rebalancing was paused. This command resumed it.") }
                if self.waiting.noWait { return .ok }
                return try await Waiter(what: "the rebalance", later: "realertime plan", limit: self.waiting.within?.duration).wait {
                    try await Self.fetchStep(cluster)
                } obstacles: {
                    try await cluster.obstacles()
                }
            }
        }

        /// The node's response with the plan as an additional field.
        static func object(_ response: String, plan: String) -> String {
            JSONValue(Array(response.utf8))?.json(setting: "plan", to: plan) ?? response
        }

        private static func fetchStep(_ cluster: ClusterClient) async throws -> Waiter.Step {
            async let plan = cluster.fetch(ClusterPlan.self)
            let overview = try await cluster.fetch(ClusterOverview.self).report
            return Self.step(try await plan.report, overview)
        }

        static func step(_ plan: ClusterPlan, _ overview: ClusterOverview) -> Waiter.Step {
            let partitions = overview.partitions
            let inFlight = partitions.moving + partitions.preparing
            guard plan.isEmpty, inFlight == 0, partitions.orphan == 0 else {
                return .inProgress(left: max(plan.moves + plan.grants, plan.waiting, partitions.orphan) + inFlight, moving: inFlight)
            }
            let text = "complete: \(overview.balanceText) (view \(Readable.count(overview.head.viewVersion)))"
            guard plan.refusals.isEmpty else { return .done(([text + ", but"] + plan.refusals).joined(separator: "\n  "), .degraded) }
            return .done(text, .ok)
        }
    }

    struct PauseCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pause", abstract: "Stop automatic rebalancing. Failover, drains and pins continue.",
            usage: "realertime rebalance pause [<options>]")

        @OptionGroup var change: ChangeOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await self.options.change(self.change.request(.pause)) }
    }

    struct ResumeCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume", abstract: "Resume automatic rebalancing.", usage: "realertime rebalance resume [<options>]")

        @OptionGroup var change: ChangeOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await self.options.change(self.change.request(.resume)) }
    }
}

extension ClusterOptions {
    /// Sends a change and prints the response. Does not wait until the cluster has executed the change.
    func change(_ request: AdminRequest) async throws {
        try await self.run { cluster in
            let (text, json) = try await cluster.change(request)
            try self.write(text, json)
            return .ok
        }
    }

    /// Prints a node's response to a change.
    func write(_ text: String, _ json: String) throws {
        try Terminal.standardOutput.write("\(self.output == .json ? json : Terminal.standardOutput.sentence(text))\n".utf8)
    }
}

extension ClusterClient {
    func obstacles(of node: String? = nil) async throws -> [String] {
        async let partitions = try? self.fetch(ClusterPartitions.self).report
        async let plan = try? self.fetch(ClusterPlan.self).report
        let overview = try await self.fetch(ClusterOverview.self).report
        return Obstacles.find(overview, await plan, await partitions, of: node)
    }
}
