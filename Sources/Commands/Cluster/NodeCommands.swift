import AdminAPI
package import ArgumentParser

package struct UndrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "undrain",
        abstract: "End a drain: the node may own partitions again.",
        usage: "realertime undrain <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime undrain n3

            It gets its share back with the next rebalance, which starts by itself.

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change(self.change.request(.undrain, node: self.node)) }
}

package struct CordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cordon",
        abstract: "Keep a node from gaining partitions. It keeps those it owns.",
        usage: "realertime cordon <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime cordon n3 --note "looks slow"

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change(self.change.request(.cordon, node: self.node)) }
}

package struct UncordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "uncordon",
        abstract: "End a cordon: the node may gain partitions again.",
        usage: "realertime uncordon <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime uncordon n3

            Also ends the automatic cordon of a node that kept restarting or losing its session.

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change(self.change.request(.uncordon, node: self.node)) }
}

package struct ForgetCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Remove a dead node from the cluster.",
        usage: "realertime forget <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime forget n3

            Refused while it is a member: drain it and stop it first.

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change(self.change.request(.forget, node: self.node)) }
}
