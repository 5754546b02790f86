import AdminAPI
package import ArgumentParser

/// The arguments of a command that changes one node and does not wait.
struct NodeChangeOptions: ParsableArguments {
    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    func send(_ kind: AdminRequest.Kind) async throws {
        try await self.options.change(self.change.request(kind, node: self.node))
    }
}

package struct UndrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "undrain",
        abstract: "Cancel a drain. The node can own partitions again.",
        usage: "realertime undrain <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime undrain n3

            The node gets its share of the partitions with the next automatic rebalance.

            \(Help.changeExitStatus)
            """)

    @OptionGroup var target: NodeChangeOptions

    package init() {}

    package func run() async throws { try await self.target.send(.undrain) }
}

package struct CordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cordon",
        abstract: "Stop giving new partitions to a node. The node keeps the partitions that it owns.",
        usage: "realertime cordon <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime cordon n3 --note "looks slow"

            To move the node's partitions to other nodes, use drain.

            \(Help.changeExitStatus)
            """)

    @OptionGroup var target: NodeChangeOptions

    package init() {}

    package func run() async throws { try await self.target.send(.cordon) }
}

package struct UncordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "uncordon",
        abstract: "End a cordon. The node can get new partitions again.",
        usage: "realertime uncordon <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime uncordon n3

            This does not end a drain. To end a drain, use undrain.

            \(Help.changeExitStatus)
            """)

    @OptionGroup var target: NodeChangeOptions

    package init() {}

    package func run() async throws { try await self.target.send(.uncordon) }
}

package struct ForgetCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Remove a dead node from the cluster.",
        usage: "realertime forget <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime forget n3

            The cluster refuses this while the node still runs and is connected to the cluster. Drain and stop the node first.

            \(Help.changeExitStatus)
            """)

    @OptionGroup var target: NodeChangeOptions

    package init() {}

    package func run() async throws { try await self.target.send(.forget) }
}
