/// The response of `GET /api/partitions` and `GET /api/locate`.
struct ClusterPartitions: ClusterReport, Equatable {
    static let path = "/api/partitions"

    struct Partition: Decodable, Equatable, Sendable {
        var partition: Int
        var owner: String?
        var ownerEpoch: Int
        /// `served`, `preparing`, `moving`, `orphan` or `unknown`.
        var state: String
        var movingTo: String?
        var reason: String?
        var pinnedTo: String?
        /// The owner's API address.
        var api: String?
        /// Two nodes report that they serve it under this owner epoch.
        var contested: Bool?

        var exitStatus: CommandStatus {
            if self.contested ?? false || self.state == "orphan" { return .critical }
            return ["served", "moving"].contains(self.state) ? .ok : .degraded
        }

        var colour: Terminal.Colour {
            switch self.exitStatus {
            case .ok: .green
            case .degraded: .yellow
            case .critical, .unreachable: .red
            }
        }

        var moveWords: String? { self.movingTo.map { "to \($0) (\(self.reason ?? "?"))" } }
    }

    var head: ClusterHead
    /// Of `locate` only.
    var channel: String?
    var partitions: [Partition]

    private enum CodingKeys: CodingKey {
        case channel, partitions
    }

    init(from decoder: any Decoder) throws {
        self.head = try ClusterHead(from: decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.channel = try values.decodeIfPresent(String.self, forKey: .channel)
        self.partitions = try values.decode([Partition].self, forKey: .partitions)
    }

    var exitStatus: CommandStatus { self.partitions.reduce(self.head.exitStatus) { $0.worse($1.exitStatus) } }

    func table(on terminal: Terminal) -> String {
        var table = Table(["PARTITION", "OWNER", "STATE", "MOVING", "EPOCH", "PINNED TO"].map { Table.Column($0) }, names: 1)
        for partition in self.partitions {
            table.add([
                String(partition.partition), partition.owner ?? "-", partition.stateWords, partition.moveWords ?? "-", String(partition.ownerEpoch),
                partition.pinnedTo ?? "-",
            ])
        }
        let text = table.text(on: terminal) { row, column, cell in column == 2 ? terminal.paint(cell, self.partitions[row].colour) : cell }
        return ([text] + self.head.notes(on: terminal) + [terminal.footer(self.head.words)]).joined(separator: "\n")
    }

    /// The partition of a channel, one line for each fact.
    func location(on terminal: Terminal) -> String {
        guard let partition = self.partitions.first else { return "no such partition" }
        var facts = Facts()
        if let channel { facts.add("channel", channel) }
        facts.add("partition", String(partition.partition))
        facts.add("owner", partition.owner ?? "none")
        facts.add("owner epoch", String(partition.ownerEpoch))
        facts.add("state", partition.stateWords + (partition.moveWords.map { " \($0)" } ?? ""))
        if let pin = partition.pinnedTo { facts.add("pinned to", pin) }
        facts.add("api", partition.api.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown")
        return ([facts.text(on: terminal)] + self.head.notes(on: terminal) + [terminal.footer(self.head.words)]).joined(separator: "\n")
    }
}

extension ClusterPartitions.Partition {
    fileprivate var stateWords: String { self.contested ?? false ? "\(self.state), contested" : self.state }
}
