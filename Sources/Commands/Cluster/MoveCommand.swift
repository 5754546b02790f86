import AdminAPI
import Options
package import ArgumentParser

package struct MoveCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "move",
        abstract: "Move a partition to a node and pin it there.",
        usage: "realertime move <partition> (--to <node> | --unpin) [<options>]",
        discussion: """
            EXAMPLES:
              realertime move 17 --to n2
              realertime move 17 --unpin

            The pin lasts until --unpin. While the node is down, another node gets the partition. When the node returns, it gets the \
            partition back. The command waits until the node serves the partition. Ctrl-C stops only the command, not the move. To find \
            the partition of a channel, use realertime locate.

            \(Help.waitExitStatus)
            """)

    @Argument(help: "The number of the partition. The first is 0.", transform: wholeNumber(0...65_535))
    var partition: Int

    @Option(help: ArgumentHelp("The id of the node that gets the partition.", valueName: "node"))
    var to: String?

    @Flag(help: "Remove the pin. The cluster may then move the partition to any node.")
    var unpin = false

    @OptionGroup var change: ChangeOptions
    @OptionGroup var waiting: WaitOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func validate() throws {
        if (self.to == nil) != self.unpin { throw ValidationError("Give either --to <node> or --unpin.") }
    }

    package func run() async throws {
        guard let target = self.to else { return try await self.options.change(self.change.request(.unpin, partition: self.partition)) }
        try await self.options.run { cluster in
            let (text, json) = try await cluster.change(self.change.request(.move, node: target, partition: self.partition))
            try self.options.write(text, json)
            if self.waiting.noWait { return .ok }
            let number = self.partition
            let later = "realertime partitions --node \(target)"
            return try await Waiter(what: "the move of partition \(number)", later: later, limit: self.waiting.within?.duration).wait {
                Self.step(try await cluster.fetch(ClusterPartitions.self).report, number, target)
            } obstacles: {
                try await cluster.obstacles(of: target)
            }
        }
    }

    static func step(_ report: ClusterPartitions, _ number: Int, _ target: String) -> Waiter.Step {
        guard let partition = report.partitions.first(where: { $0.partition == number }) else { return .failed("There is no partition \(number).") }
        guard partition.owner == target, partition.state == .served else { return .inProgress(left: 1, moving: partition.movingTo == nil ? 0 : 1) }
        return .done("\(target) serves partition \(number) (owner epoch \(partition.ownerEpoch)).", .ok)
    }
}
