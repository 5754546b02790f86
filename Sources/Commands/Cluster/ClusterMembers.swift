/// What `GET /api/members` says.
struct ClusterMembers: ClusterReport, Equatable {
    static let path = "/api/members"

    struct Member: Decodable, Equatable, Sendable {
        var id: String
        var state: String
        /// What an operator wants of it, who, and why.
        var desired: String?
        var by: String?
        var note: String?
        var zone: String
        var link: String
        var api: String
        /// Nil while it is not a member: it has no session.
        var incarnation: Int?
        var version: String
        var weight: Double
        var owned: Int
        var share: Double
        var movingIn: Int
        var movingOut: Int
        var uptimeSeconds: Int?
        // What it reports of itself; nil when it has not.
        /// `connected`, or what has become of its session with ZooKeeper. Nil of a node that needs none.
        var session: String?
        var serving: Int?
        var connections: Int?
        var publishedPerSecond: Double?
        var deliveredPerSecond: Double?
        var nodeViewVersion: Int?
        var reportAgeMs: Int?
        var health: NodeStatus.Health?
        var peers: Int?
        var sees: Int?
        var doesNotSee: [String]?
        var alarm: String?

        private static let reportAgeMsMax = 5000

        var isSilent: Bool { self.incarnation != nil && (self.reportAgeMs ?? 0) > Self.reportAgeMsMax }
        var isBlind: Bool { !(self.doesNotSee ?? []).isEmpty }

        /// Two letters: how it is, and what it is for.
        var code: String {
            let first =
                switch self.state {
                case "down": "D"
                case "fenced": "F"
                default: self.isSilent || self.isBlind ? "S" : "U"
                }
            let purpose = ["down", "fenced"].contains(self.state) ? self.desired ?? "active" : self.state
            let second = ["active": "A", "joining": "J", "cordoned": "C", "draining": "D", "drained": "E", "removed": "R"][purpose] ?? "?"
            return first + second
        }

        var exitStatus: CommandStatus {
            switch self.state {
            case "down": return self.desired == "draining" ? .ok : .degraded
            case "fenced", "joining": return .degraded
            default:
                let own: CommandStatus = self.isSilent || self.isBlind ? .degraded : .ok
                return own.worse(self.health?.exitStatus ?? .ok)
            }
        }
    }

    var head: ClusterHead
    var members: [Member]

    private enum CodingKeys: CodingKey {
        case members
    }

    init(from decoder: any Decoder) throws {
        self.head = try ClusterHead(from: decoder)
        self.members = try decoder.container(keyedBy: CodingKeys.self).decode([Member].self, forKey: .members)
    }

    var exitStatus: CommandStatus { self.members.reduce(self.head.exitStatus) { $0.worse($1.exitStatus) } }
}

extension ClusterMembers {
    static let legend = "U up, D down, F fenced, S suspect; A active, J joining, C cordoned, D draining, E drained, R to be removed"

    func table(on terminal: Terminal) -> String {
        var columns = Columns()
        columns.add(
            "ST", "NODE", "ZONE", "LINK", "API", "INCARNATION", "VERSION", "WEIGHT", "OWNS", "SHARE", "MOVING", "CONNECTIONS", "PUBLISHED", "DELIVERED",
            "SESSION", "SEES", "UPTIME")
        for member in self.members { columns.add(member.cells) }
        let table = columns.text { row, column, cell in
            if row == 0 { return terminal.paint(cell, .dim) }
            return column == 0 ? terminal.paint(cell, self.members[row - 1].colour) : cell
        }
        let notes = self.members.flatMap(\.notes).map { terminal.paint("! ", .yellow) + $0 }
        return ([table] + notes + [terminal.paint("\(Self.legend)\n\(self.head.words)", .dim)]).joined(separator: "\n")
    }
}

extension ClusterMembers.Member {
    fileprivate var cells: [String] {
        [
            self.code, self.id, Self.text(self.zone), Self.text(self.link), Self.text(self.api), Self.text(self.incarnation.map(String.init)),
            Self.text(self.version), Readable.fixed(self.weight, 1), Readable.count(self.owned), "\(Readable.fixed(self.share * 100, 1))%", self.movingWords,
            Self.text(self.connections.map { Readable.count($0) }), Self.text(self.publishedPerSecond.map { Readable.rate($0) }),
            Self.text(self.deliveredPerSecond.map { Readable.rate($0) }), self.sessionWords, self.seesWords,
            Self.text(self.uptimeSeconds.map { Readable.duration(seconds: $0) }),
        ]
    }

    fileprivate var colour: Terminal.Colour {
        switch self.code.first {
        case "U": self.state == "active" ? .green : .yellow
        case "S": .yellow
        default: .red
        }
    }

    private static func text(_ text: String?) -> String { text.flatMap { $0.isEmpty ? nil : $0 } ?? "-" }

    /// What was asked of it, as far as that has come.
    private static func wish(_ desired: String, in state: String) -> String {
        let done = desired == "draining" ? "drained" : desired
        return state == done ? "is \(done)" : state == desired ? "is being \(done)" : "is to be \(done)"
    }

    private var movingWords: String {
        let words = (self.movingIn > 0 ? ["+\(self.movingIn)"] : []) + (self.movingOut > 0 ? ["-\(self.movingOut)"] : [])
        return words.isEmpty ? "-" : words.joined(separator: " ")
    }

    /// That it lives is known from its member node; what the node itself says of it comes with its reports, whose age follows.
    private var sessionWords: String {
        guard self.incarnation != nil else { return "none" }
        let state = self.session.map { $0 == "connected" ? "live" : $0 } ?? "live"
        return self.reportAgeMs.map { "\(state) \(Readable.fixed(Double($0) / 1000, 1))s" } ?? state
    }

    private var seesWords: String {
        guard let sees, let peers else { return "-" }
        return "\(sees)/\(peers)"
    }

    fileprivate var notes: [String] {
        var notes: [String] = []
        if let unseen = self.doesNotSee, !unseen.isEmpty { notes.append("\(self.id) does not see \(unseen.joined(separator: ", "))") }
        if self.isSilent { notes.append("\(self.id) has not reported for \((self.reportAgeMs ?? 0) / 1000) s") }
        if let alarm { notes.append("alarm at \(self.id): \(alarm)") }
        if let desired, desired != "active" {
            let by = self.by.flatMap { $0.isEmpty ? nil : " by \($0)" } ?? ""
            let note = self.note.flatMap { $0.isEmpty ? nil : ": \($0)" } ?? ""
            notes.append("\(self.id) \(Self.wish(desired, in: self.state))\(by)\(note)")
        }
        return notes
    }
}
