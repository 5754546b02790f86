package import ArgumentParser

package struct UndrainCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "undrain",
        abstract: "Let a node that drains, or is drained, own again.",
        usage: "realertime undrain <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime undrain n3

            It gets its share back when the cluster balances.

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change("/api/undrain", self.change.body(node: self.node)) }
}

package struct CordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "cordon",
        abstract: "Let a node keep what it owns, and gain nothing.",
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

    package func run() async throws { try await self.options.change("/api/cordon", self.change.body(node: self.node)) }
}

package struct UncordonCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "uncordon",
        abstract: "Let a node that is cordoned gain partitions again.",
        usage: "realertime uncordon <node> [<options>]",
        discussion: """
            EXAMPLES:
              realertime uncordon n3

            Also a node that was cordoned because it came and went too often.

            \(Help.exitStatus)
            """)

    @Argument(help: "The id of the node.")
    var node: String

    @OptionGroup var change: ChangeOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws { try await self.options.change("/api/uncordon", self.change.body(node: self.node)) }
}

package struct ForgetCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "forget",
        abstract: "Expect a node that is down no more.",
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

    package func run() async throws { try await self.options.change("/api/forget", self.change.body(node: self.node)) }
}
