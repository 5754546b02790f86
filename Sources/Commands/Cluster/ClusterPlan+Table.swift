import AdminAPI
import JSON

extension ClusterPlan: ClusterReport {
    static let kind = AdminRequest.Kind.plan

    var isEmpty: Bool { self.moves + self.grants + self.waiting == 0 }

    var exitStatus: CommandStatus { self.refusals.isEmpty ? self.head.exitStatus : self.head.exitStatus.worse(.degraded) }

    func table(on terminal: Terminal) -> String {
        var lines: [String] = []
        if !self.pairs.isEmpty {
            var table = Table(["FROM", "TO", "PARTITIONS", "WHY"].map { Table.Column($0) }, names: 0)
            for pair in self.pairs { table.add([pair.from, pair.to, Readable.count(pair.count), pair.reason]) }
            lines.append(table.text(on: terminal))
        }
        lines.append(terminal.sentence(self.summary))
        lines += ((self.waitText.map { [$0] } ?? []) + self.refusals).map { terminal.sentence($0, lead: "! ", .yellow) }
        lines += self.head.notes(on: terminal)
        lines.append(terminal.footer(self.head.footer))
        return lines.joined(separator: "\n")
    }

    private var summary: String {
        guard !self.isEmpty else { return "nothing to move: the node with the most partitions has \(Readable.fixed(self.spreadBefore, 3)) times an even share" }
        let grants = self.grants > 0 ? "\(Readable.count(self.grants, "grant")) and " : ""
        return "\(grants)\(Readable.count(self.moves, "move")) (lower bound \(Readable.count(self.lowerBound))) in \(Readable.count(self.rounds, "round")); "
            + "the node with the most partitions has \(Readable.fixed(self.spreadBefore, 3)) times an even share now, and \(Readable.fixed(self.spreadAfter, 3)) after the plan"
    }

    /// Why some moves of the plan do not start now. Nil if no move waits.
    var waitText: String? {
        guard self.waiting > 0 else { return nil }
        let count = "\(Readable.count(self.waiting)) of these moves \(self.waiting == 1 ? "waits" : "wait")"
        switch self.head.mode {
        case "maintenance": return "\(count): rebalancing is paused ('realertime rebalance resume' ends the pause)"
        case "guarded": return "\(count): many nodes failed together, and their partitions are reserved for these nodes for a while"
        default:
            return self.settled
                ? "\(count) for earlier moves"
                : "\(count): a node is joining, is fenced or runs another version, or a node joined or left a moment ago"
        }
    }
}
