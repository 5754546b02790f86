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
            drain-seconds (15), evenly spread. It waits until the node owns nothing, and says what is left, how fast it goes, and what \
            is stuck and why. Ctrl-C ends only the waiting; undrain takes it back.

            \(Help.exitStatus)
              1 when it was not waited for to the end.
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        try await self.options.run { cluster in
            let (words, json) = try await cluster.change("/api/drain", self.change.body(node: self.node))
            try self.options.write(words, json)
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

/// Determines the progress of a drain, and detects when it is lifted.
actor DrainWatch {
    private let node: String
    private var wasDraining = false

    init(node: String) {
        self.node = node
    }

    func step(_ members: ClusterMembers) -> Waiter.Step {
        guard let member = members.members.first(where: { $0.id == self.node }) else { return .failed("\(self.node) is not in the cluster any more.") }
        if member.desired == "draining" { self.wasDraining = true }
        if member.state == "drained" {
            let connected = member.connections.flatMap { $0 > 0 ? " \(Readable.count($0)) subscribers are still connected to it." : nil } ?? ""
            return .done("\(self.node) owns nothing: it can be stopped.\(connected)", .ok)
        }
        if member.state == "down", member.owned == 0 { return .done("\(self.node) is down, and owns nothing.", .ok) }
        if self.wasDraining, let desired = member.desired, desired != "draining" {
            let by = member.by.flatMap { $0.isEmpty ? nil : " (\($0))" } ?? ""
            return .failed("Somebody wants \(self.node) to be \(desired) now\(by): it is not drained any more.")
        }
        return .going(left: member.owned + member.movingIn, moving: member.movingOut)
    }
}
