import AdminAPI
package import ArgumentParser

package struct DrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Move all partitions and subscribers of a node to other nodes, so that the node can be stopped.",
        usage: "realertime drain <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime drain n3 --note "kernel update"
              realertime drain n3 --no-wait
              realertime drain n3 --within 60 && ssh n3 systemctl stop realertime

            The cluster hands the node's partitions to other nodes, a few at a time. The node asks its subscribers to reconnect, spread \
            evenly over its drain-seconds (default 15). The command waits until the node owns no partitions. \
            Meanwhile it shows the number of remaining partitions, the rate, and the reason if no partition moves. Ctrl-C stops only the \
            command, not the drain. To cancel the drain, use undrain.

            \(Help.waitExitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        try await self.options.run { cluster in
            let (text, json) = try await cluster.change(self.change.request(.drain, node: self.node))
            try self.options.write(text, json)
            if self.waiting.noWait { return .ok }
            let node = self.node
            let drain = DrainProgress(node: node)
            return try await Waiter(what: "the drain of \(node)", later: "realertime members", limit: self.waiting.within?.duration).wait {
                await drain.step(try await cluster.fetch(ClusterMembers.self).report)
            } obstacles: {
                try await cluster.obstacles(of: node)
            }
        }
    }
}

/// Determines the progress of a drain, and detects when another request replaces it.
actor DrainProgress {
    private let node: String
    private var wasDraining = false

    init(node: String) {
        self.node = node
    }

    func step(_ members: ClusterMembers) -> Waiter.Step {
        guard let member = members.members.first(where: { $0.id == self.node }) else { return .failed("\(self.node) is no longer in the cluster.") }
        if member.desired?.state == "draining" { self.wasDraining = true }
        if member.state == "drained" {
            let connected =
                member.report.flatMap { $0.connections > 0 ? " \(Readable.count($0.connections)) subscribers are still connected to this node." : nil } ?? ""
            return .done("\(self.node) owns no partitions and can be stopped.\(connected)", .ok)
        }
        if member.state == "down", member.owned == 0 { return .done("\(self.node) is down and owns no partitions.", .ok) }
        if self.wasDraining, let desired = member.desired, desired.state != "draining" {
            let by = desired.by.isEmpty ? "an operator" : desired.by
            return .failed("The drain was cancelled: \(by) requested that \(self.node) is \(desired.state).")
        }
        return .inProgress(left: member.owned + member.movingIn, moving: member.movingOut)
    }
}
