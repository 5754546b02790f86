import AdminAPI
import JSON
package import ArgumentParser

package struct RebalanceCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "rebalance",
        abstract: "Give every node its share, with the fewest moves.",
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

            It shows the plan, lets the cluster do it, and waits until every partition is where it belongs. A cluster rebalances by \
            itself when nodes come and go, unless that is paused: then this resumes it. Ctrl-C ends only the waiting. With -o json the \
            plan is the field plan of the answer.

            \(Help.exitStatus)
              1 when this stopped waiting before the end.
            """,
        subcommands: [RunCommand.self, PauseCommand.self, ResumeCommand.self], defaultSubcommand: RunCommand.self)

    package init() {}

    struct RunCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "run", abstract: "Do it.", usage: "realertime rebalance [<options>]")

        @Flag(help: "Only show the plan, as the command plan does.")
        var dryRun = false

        @OptionGroup var change: ChangeOptions
        @OptionGroup var waiting: WaitOptions
        @OptionGroup var table: TableOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws {
            let terminal = self.table.terminal
            if self.dryRun { return try await self.options.show(ClusterPlan.self, on: terminal) }
            try await self.options.run { cluster in
                let plan = try await cluster.look(ClusterPlan.self)
                let isJSON = self.options.output == .json
                // People see the plan before it is executed. Programs get one object that includes the plan.
                if !isJSON { try terminal.write("\(plan.report.table(on: terminal))\n".utf8) }
                let (text, json) = try await cluster.change(self.change.request(.rebalance))
                try terminal.write("\(isJSON ? Self.object(json, plan: plan.json) : terminal.sentence(text))\n".utf8)
                if plan.report.head.mode == "maintenance" { Terminal.standardError.say("Rebalancing was paused; this resumed it.") }
                if self.waiting.noWait { return .ok }
                return try await Waiter(what: "the rebalance", later: "realertime plan", limit: self.waiting.within?.duration).wait {
                    try await Self.look(at: cluster)
                } obstacles: {
                    try await cluster.obstacles()
                }
            }
        }

        /// The node's response with the plan as an additional field.
        static func object(_ response: String, plan: String) -> String {
            JSONValue(Array(response.utf8))?.json(setting: "plan", to: plan) ?? response
        }

        private static func look(at cluster: ClusterClient) async throws -> Waiter.Step {
            async let planned = cluster.look(ClusterPlan.self)
            let overview = try await cluster.look(ClusterOverview.self).report
            return Self.step(try await planned.report, overview)
        }

        static func step(_ plan: ClusterPlan, _ overview: ClusterOverview) -> Waiter.Step {
            let partitions = overview.partitions
            let inFlight = partitions.moving + partitions.preparing
            guard plan.isEmpty, inFlight == 0, partitions.orphan == 0 else {
                return .going(left: max(plan.moves + plan.grants, plan.waiting, partitions.orphan) + inFlight, moving: inFlight)
            }
            let spread = Readable.fixed(overview.spread, 3)
            let even = "converged: the fullest node has \(spread) of an even share (view \(Readable.count(overview.head.viewVersion)))"
            guard plan.refusals.isEmpty else { return .done(([even + ", but"] + plan.refusals).joined(separator: "\n  "), .degraded) }
            return .done(even, .ok)
        }
    }

    struct PauseCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "pause", abstract: "Start no moves for balance. Failover, drains and pins continue.",
            usage: "realertime rebalance pause [<options>]")

        @OptionGroup var change: ChangeOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await self.options.change(self.change.request(.pause)) }
    }

    struct ResumeCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "resume", abstract: "Balance by itself again.", usage: "realertime rebalance resume [<options>]")

        @OptionGroup var change: ChangeOptions
        @OptionGroup var options: ClusterOptions

        func run() async throws { try await self.options.change(self.change.request(.resume)) }
    }
}

extension ClusterOptions {
    /// One change that is complete when the response arrives.
    func change(_ request: AdminRequest) async throws {
        try await self.run { cluster in
            let (text, json) = try await cluster.change(request)
            try self.write(text, json)
            return .ok
        }
    }

    /// A node's response to a change.
    func write(_ text: String, _ json: String) throws {
        try Terminal.standardOutput.write("\(self.output == .json ? json : Terminal.standardOutput.sentence(text))\n".utf8)
    }
}

extension ClusterClient {
    func obstacles(of node: String? = nil) async throws -> [String] {
        async let partitions = try? self.look(ClusterPartitions.self).report
        async let plan = try? self.look(ClusterPlan.self).report
        let overview = try await self.look(ClusterOverview.self).report
        return Obstacles.find(overview, await plan, await partitions, of: node)
    }
}
