/// What `GET /api/partitions` and `GET /api/locate` say.
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
        /// The owner's.
        var api: String?
        /// Two nodes say that they serve it under this owner epoch.
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
        var columns = Columns()
        columns.add("PARTITION", "OWNER", "EPOCH", "STATE", "MOVING", "PINNED TO")
        for partition in self.partitions {
            columns.add(
                String(partition.partition), partition.owner ?? "-", String(partition.ownerEpoch), partition.stateWords,
                partition.moveWords ?? "-", partition.pinnedTo ?? "-")
        }
        let table = columns.text { row, column, cell in
            if row == 0 { return terminal.paint(cell, .dim) }
            return column == 3 ? terminal.paint(cell, self.partitions[row - 1].colour) : cell
        }
        return ([table] + self.head.notes(on: terminal) + [terminal.paint(self.head.words, .dim)]).joined(separator: "\n")
    }

    /// The one partition of a channel, a line a fact.
    func location(on terminal: Terminal) -> String {
        guard let partition = self.partitions.first else { return "no such partition" }
        var columns = Columns()
        if let channel { columns.add("channel", channel) }
        columns.add("partition", String(partition.partition))
        columns.add("owner", partition.owner ?? "none")
        columns.add("owner epoch", String(partition.ownerEpoch))
        columns.add("state", partition.stateWords + (partition.moveWords.map { " \($0)" } ?? ""))
        if let pin = partition.pinnedTo { columns.add("pinned to", pin) }
        columns.add("api", partition.api.flatMap { $0.isEmpty ? nil : $0 } ?? "unknown")
        let table = columns.text { _, column, cell in column == 0 ? terminal.paint(cell, .dim) : cell }
        return ([table] + self.head.notes(on: terminal) + [terminal.paint(self.head.words, .dim)]).joined(separator: "\n")
    }
}

extension ClusterPartitions.Partition {
    fileprivate var stateWords: String { self.contested ?? false ? "\(self.state), contested" : self.state }
}
