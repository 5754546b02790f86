import AdminAPI
package import ArgumentParser
import Foundation

package struct PartitionsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "partitions",
        abstract: "Show which node owns each partition, and its state.",
        usage: "realertime partitions [<options>]",
        discussion: """
            EXAMPLES:
              realertime partitions
              realertime partitions --node n2
              realertime partitions --state moving
              realertime partitions -o json

            STATES:
              served     its owner reports that it serves it, under the view's owner epoch
              preparing  granted, not served yet
              moving     being handed over
              orphan     has no owner
              unknown    its owner has not reported for a while

            \(Help.exitStatus)
              1 when one is preparing or unknown, 2 when one is an orphan or contested.
            """)

    @Option(help: ArgumentHelp("Only those that this node owns or gets. Not with -o json.", valueName: "node"))
    var node: String?

    @Option(help: ArgumentHelp("Only those in this state. Not with -o json.", valueName: "state"))
    var state: PartitionState?

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func validate() throws {
        if self.options.output == .json, self.node != nil || self.state != nil {
            throw ValidationError("--node and --state choose rows of the table: json is the node's whole answer.")
        }
    }

    package func run() async throws {
        if let node {
            try await self.options.run { cluster in
                let known = try await cluster.look(ClusterMembers.self).report.members.map(\.id)
                guard known.contains(node) else {
                    throw Failure(.critical, "There is no node \(node) in this cluster. There are: \(known.joined(separator: ", ")).")
                }
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
        abstract: "Show where a channel is: its partition, the partition's owner and state.",
        usage: "realertime locate <channel> [<options>]",
        discussion: """
            EXAMPLES:
              realertime locate thread:42
              realertime locate thread:42 -o json

            In this version events stay at the node that they are published at, whichever node is the owner.

            \(Help.exitStatus)
              1 when its partition is preparing or unknown, 2 when it has no owner.
            """)

    @Argument(help: "The channel.")
    var channel: String

    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        let name = self.channel.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        try await self.options.show(ClusterPartitions.self, at: "\(AdminRequest.Kind.locate.path)?channel=\(name)") { $0.location(on: $1) }
    }
}

extension PartitionState: ExpressibleByArgument {}
