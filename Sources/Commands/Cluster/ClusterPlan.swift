/// The response of `GET /api/plan`: a whole rebalance from the current state.
struct ClusterPlan: ClusterReport, Equatable {
    static let path = "/api/plan"

    struct Pair: Decodable, Equatable, Sendable {
        var from: String
        var to: String
        /// `orphan`, `drain`, `operator` or `balance`.
        var reason: String
        var count: Int
    }

    var head: ClusterHead
    var moves: Int
    /// Partitions without an owner that get one.
    var grants: Int
    /// The fewest moves and grants that any plan with the same quotas needs.
    var lowerBound: Int
    /// Moves that do not start now: balancing is paused or held, or waits for more joins.
    var waiting: Int
    var rounds: Int
    var spreadBefore: Double
    var spreadAfter: Double
    var settled: Bool
    var pairs: [Pair]
    var refusals: [String]

    private enum CodingKeys: CodingKey {
        case moves, grants, lowerBound, waiting, rounds, spreadBefore, spreadAfter, settled, pairs, refusals
    }

    init(from decoder: any Decoder) throws {
        self.head = try ClusterHead(from: decoder)
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.moves = try values.decode(Int.self, forKey: .moves)
        self.grants = try values.decode(Int.self, forKey: .grants)
        self.lowerBound = try values.decode(Int.self, forKey: .lowerBound)
        self.waiting = try values.decode(Int.self, forKey: .waiting)
        self.rounds = try values.decode(Int.self, forKey: .rounds)
        self.spreadBefore = try values.decode(Double.self, forKey: .spreadBefore)
        self.spreadAfter = try values.decode(Double.self, forKey: .spreadAfter)
        self.settled = try values.decode(Bool.self, forKey: .settled)
        self.pairs = try values.decode([Pair].self, forKey: .pairs)
        self.refusals = try values.decode([String].self, forKey: .refusals)
    }

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
        lines += ((self.waitWords.map { [$0] } ?? []) + self.refusals).map { terminal.sentence($0, lead: "! ", .yellow) }
        lines += self.head.notes(on: terminal)
        lines.append(terminal.footer(self.head.words))
        return lines.joined(separator: "\n")
    }

    private var summary: String {
        guard !self.isEmpty else { return "nothing to move: the fullest node has \(Readable.fixed(self.spreadBefore, 3)) of an even share" }
        let grants = self.grants > 0 ? "\(Readable.count(self.grants, "grant")) and " : ""
        return "\(grants)\(Readable.count(self.moves, "move")) (lower bound \(Readable.count(self.lowerBound))) in \(Readable.count(self.rounds, "round")); "
            + "the fullest node has \(Readable.fixed(self.spreadBefore, 3)) of an even share, then \(Readable.fixed(self.spreadAfter, 3))"
    }

    /// Why some of it does not start by itself now.
    var waitWords: String? {
        guard self.waiting > 0 else { return nil }
        let count = "\(Readable.count(self.waiting)) of these \(self.waiting == 1 ? "waits" : "wait")"
        switch self.head.mode {
        case "maintenance": return "\(count): rebalancing is paused (realertime rebalance resume)"
        case "guarded": return "\(count): many nodes vanished at once, and their partitions are held for them for a while"
        default:
            return self.settled ? "\(count) for those before them" : "\(count): a node joins, is fenced or has another version, or nodes have just come or gone"
        }
    }
}
