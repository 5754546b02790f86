import AdminAPI
package import ArgumentParser
import Foundation

package struct PartitionsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "partitions",
        abstract: "Show the owner and the state of each partition.",
        usage: "realertime partitions [<options>]",
        discussion: """
            EXAMPLES:
              realertime partitions
              realertime partitions --node n2
              realertime partitions --state moving
              realertime partitions -o json

            STATES:
              served     the owner serves the partition
              preparing  the owner does not serve the partition yet
              moving     the partition is being handed to another node
              orphan     the partition has no owner
              unknown    the owner has not sent a report for a while
              contested  two nodes serve the partition (shown together with one of the
                         states above)

            \(Help.exitStatus)
              1 means that a partition is preparing or unknown.
              2 means that a partition is an orphan or contested.
            """)

    @Option(help: ArgumentHelp("Show only partitions that this node owns or will own. Not with -o json.", valueName: "node"))
    var node: String?

    @Option(help: ArgumentHelp("Show only partitions in this state. Not with -o json.", valueName: "state"))
    var state: PartitionState?

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func validate() throws {
        if self.options.output == .json, self.node != nil || self.state != nil {
            throw ValidationError("--node and --state select rows of the table. -o json prints the node's whole response: leave out --node and --state.")
        }
    }

    package func run() async throws {
        if let node {
            try await self.options.run { cluster in
                if let message = try await cluster.unknownNodeMessage(node) { throw CommandError(.critical, message) }
                return .ok
            }
        }
        try await self.options.show(ClusterPartitions.self, on: self.table.terminal) { report, terminal in
            var report = report
            report.partitions.removeAll { partition in
                let isOfNode = self.node.map { $0 == partition.owner || $0 == partition.movingTo } ?? true
                return !isOfNode || self.state.map { $0 != partition.state } ?? false
            }
            return report.table(on: terminal)
        }
    }
}

package struct LocateCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "locate",
        abstract: "Show the partition of a channel, and the partition's owner and state.",
        usage: "realertime locate <channel> [<options>]",
        discussion: """
            EXAMPLES:
              realertime locate thread:42
              realertime locate thread:42 -o json

            In this version a node stores the events that are published to it, even if another node owns the partition.

            \(Help.exitStatus)
              1 means that the partition is preparing or unknown.
              2 means that the partition is an orphan or contested.
            """)

    @Argument(help: "The name of the channel.")
    var channel: String

    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        let name = self.channel.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        try await self.options.show(ClusterPartitions.self, at: "\(AdminRequest.Kind.locate.path)?channel=\(name)") { $0.location(on: $1) }
    }
}

extension PartitionState: ExpressibleByArgument {}
