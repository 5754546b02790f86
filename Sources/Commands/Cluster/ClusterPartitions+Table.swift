import AdminAPI
import JSON

extension ClusterPartitions: ClusterReport {
    static let kind = AdminRequest.Kind.partitions

    var exitStatus: CommandStatus { self.partitions.reduce(self.head.exitStatus) { $0.worse($1.exitStatus) } }

    func table(on terminal: Terminal) -> String {
        var table = Table(["PARTITION", "OWNER", "STATE", "MOVING", "EPOCH", "PINNED TO"].map { Table.Column($0) }, names: 1)
        for partition in self.partitions {
            table.add([
                String(partition.partition), partition.owner ?? "-", partition.stateText, partition.moveText ?? "-", String(partition.ownerEpoch),
                partition.pinnedTo ?? "-",
            ])
        }
        let text = table.text(on: terminal) { row, column, cell in column == 2 ? terminal.paint(cell, self.partitions[row].colour) : cell }
        return ([text] + self.head.notes(on: terminal) + [terminal.footer(self.head.footer)]).joined(separator: "\n")
    }

    /// The partition of a channel, one line for each fact.
    func location(on terminal: Terminal) -> String {
        guard let partition = self.partitions.first else { return "the response contains no partition" }
        var facts = Facts()
        if let channel { facts.add("channel", channel) }
        facts.add("partition", String(partition.partition))
        facts.add("owner", partition.owner ?? "none")
        facts.add("owner epoch", String(partition.ownerEpoch))
        facts.add("state", partition.stateText + (partition.moveText.map { " \($0)" } ?? ""))
        if let pin = partition.pinnedTo { facts.add("pinned to", pin) }
        facts.add("api", partition.api.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown")
        return ([facts.text(on: terminal)] + self.head.notes(on: terminal) + [terminal.footer(self.head.footer)]).joined(separator: "\n")
    }
}

extension ClusterPartitions.Partition {
    var exitStatus: CommandStatus {
        if self.isContested { return .critical }
        switch self.state {
        case .served, .moving: return .ok
        case .preparing, .unknown: return .degraded
        case .orphan: return .critical
        }
    }

    var colour: Terminal.Colour {
        switch self.exitStatus {
        case .ok: .green
        case .degraded: .yellow
        case .critical, .unreachable: .red
        }
    }

    var moveText: String? { self.movingTo.map { "to \($0) (\(self.reason ?? "?"))" } }

    fileprivate var stateText: String { self.isContested ? "\(self.state.rawValue), contested" : self.state.rawValue }
}
