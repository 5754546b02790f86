import AdminAPI
package import ArgumentParser

package struct DrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "drain",
        abstract: "Take everything off a node, so that it can be stopped.",
        usage: "realertime drain <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime drain n3 --note "kernel update"
              realertime drain n3 --no-wait
              realertime drain n3 --within 60 && ssh n3 systemctl stop realertime

            Its partitions are handed to the others one by one, and its subscribers are told to connect again within the node's \
            drain-seconds (15), evenly spread. It waits until the node owns nothing, and shows what is left, how fast it goes, and what \
            is stuck and why. Ctrl-C ends only the waiting; undrain ends the drain.

            \(Help.exitStatus)
              1 when this stopped waiting before the end.
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
            let watch = DrainWatch(node: node)
            return try await Waiter(what: "the drain of \(node)", later: "realertime members", limit: self.waiting.within?.duration).wait {
                await watch.step(try await cluster.look(ClusterMembers.self).report)
            } obstacles: {
                try await cluster.obstacles(of: node)
            }
        }
    }
}

/// Determines the progress of a drain, and detects when another request replaces it.
actor DrainWatch {
    private let node: String
    private var wasDraining = false

    init(node: String) {
        self.node = node
    }

    func step(_ members: ClusterMembers) -> Waiter.Step {
        guard let member = members.members.first(where: { $0.id == self.node }) else { return .failed("\(self.node) is not in the cluster any more.") }
        if member.desired?.state == "draining" { self.wasDraining = true }
        if member.state == "drained" {
            let connected =
                member.report.flatMap { $0.connections > 0 ? " \(Readable.count($0.connections)) subscribers are still connected to it." : nil } ?? ""
            return .done("\(self.node) owns nothing: it can be stopped.\(connected)", .ok)
        }
        if member.state == "down", member.owned == 0 { return .done("\(self.node) is down, and owns nothing.", .ok) }
        if self.wasDraining, let desired = member.desired, desired.state != "draining" {
            let by = desired.by.isEmpty ? "an operator" : desired.by
            return .failed("The drain was replaced: \(self.node) is to be \(desired.state) now, requested by \(by).")
        }
        return .going(left: member.owned + member.movingIn, moving: member.movingOut)
    }
}
