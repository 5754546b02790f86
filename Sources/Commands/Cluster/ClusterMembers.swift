/// The response of `GET /api/members`.
struct ClusterMembers: ClusterReport, Equatable {
    static let path = "/api/members"

    struct Member: Decodable, Equatable, Sendable {
        var id: String
        var state: String
        /// The desired state, the operator who requested it, and the reason.
        var desired: String?
        var by: String?
        var note: String?
        var zone: String
        var link: String
        var api: String
        /// Nil while it is not a member, because it has no session.
        var incarnation: Int?
        var version: String
        var weight: Double
        var owned: Int
        var share: Double
        var movingIn: Int
        var movingOut: Int
        var uptimeSeconds: Int?
        // The other members' reports about it.
        /// `up`, `suspect`, `down` or `unknown`.
        var presence: String
        /// How many of the witnesses reach it, and which do not.
        var seenBy: Int
        var witnesses: Int
        var notSeenBy: [String]
        // Its own report. Nil without a report.
        /// The state of its session with ZooKeeper, such as `connected`. Nil of a node that needs none.
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

        /// A member without a report at the responding node, or with an outdated one.
        var isSilent: Bool { self.incarnation != nil && (self.reportAgeMs ?? .max) > Self.reportAgeMsMax }

        /// Two letters: its presence and its role.
        var code: String {
            let first =
                switch (self.state, self.presence) {
                case ("down", _): "D"
                case ("fenced", _): "F"
                case (_, "down"): "D"
                case (_, "suspect"): "S"
                case (_, "up"): "U"
                default: "?"
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
                let isWell = self.presence == "up" && self.seenBy == self.witnesses && self.session.map { $0 == "connected" } ?? true
                return (isWell ? CommandStatus.ok : .degraded).worse(self.health?.exitStatus ?? .ok)
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
    static let legend = "U up, D down, F fenced, S suspect, ? not known; A active, J joining, C cordoned, D draining, E drained, R to be removed"

    func table(on terminal: Terminal) -> String {
        var table = Table(Self.columns, names: 1)
        for member in self.members { table.add(member.cells) }
        let text = table.text(on: terminal) { row, column, cell in column == 0 ? terminal.paint(cell, self.members[row].colour) : cell }
        let notes = self.head.notes(on: terminal) + self.members.flatMap(\.notes).map { terminal.sentence($0, lead: "! ", .yellow) }
        return ([text] + notes + [Self.legend, self.head.words].map { terminal.footer($0) }).joined(separator: "\n")
    }

    /// Important and changing columns come first. Constant columns are left out first.
    private static let columns = [
        Table.Column("ST"), .init("NODE"), .init("OWNS"), .init("MOVING"), .init("CONNECTIONS"), .init("PUBLISHED"), .init("DELIVERED"), .init("SEES"),
        .init("SESSION", widthMin: 10), .init("SHARE", widthMin: 6), .init("UPTIME", widthMin: 7), .init("ZONE"), .init("WEIGHT"), .init("VERSION"),
        .init("INCARNATION"), .init("API"), .init("LINK"),
    ]
}

extension ClusterMembers.Member {
    fileprivate var cells: [String] {
        [
            self.code, self.id, Readable.count(self.owned), self.movingWords, Self.text(self.connections.map { Readable.count($0) }),
            Self.text(self.publishedPerSecond.map { Readable.rate($0) }), Self.text(self.deliveredPerSecond.map { Readable.rate($0) }), self.seesWords,
            self.sessionWords, "\(Readable.fixed(self.share * 100, 1))%", Self.text(self.uptimeSeconds.map { Readable.duration(seconds: $0) }),
            Self.text(self.zone), Readable.fixed(self.weight, 1), Self.text(self.version), Self.text(self.incarnation.map(String.init)),
            Self.text(self.api), Self.text(self.link),
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

    /// The progress of what was requested of it.
    private static func wish(_ desired: String, in state: String) -> String {
        let done = desired == "draining" ? "drained" : desired
        return state == done ? "is \(done)" : state == desired ? "is being \(done)" : "is to be \(done)"
    }

    private var movingWords: String {
        let words = (self.movingIn > 0 ? ["+\(self.movingIn)"] : []) + (self.movingOut > 0 ? ["-\(self.movingOut)"] : [])
        return words.isEmpty ? "-" : words.joined(separator: " ")
    }

    /// The state of its session in its newest report, and the age of the report. Unknown without a report.
    private var sessionWords: String {
        guard self.incarnation != nil else { return "none" }
        guard let session = self.session ?? (self.reportAgeMs == nil ? nil : "connected") else { return "no report" }
        let age = self.reportAgeMs.map { "\(Readable.fixed(Double($0) / 1000, 1))s" } ?? ""
        return self.isSilent ? "no report \(age)" : "\(session == "connected" ? "live" : session) \(age)"
    }

    private var seesWords: String {
        guard let sees, let peers else { return "-" }
        return "\(sees)/\(peers)"
    }

    fileprivate var notes: [String] {
        var notes: [String] = []
        if let words = self.presenceWords { notes.append("\(self.id) \(words)") }
        if let alarm { notes.append("alarm at \(self.id): \(alarm)") }
        if let desired, desired != "active" {
            let by = self.by.flatMap { $0.isEmpty ? nil : " by \($0)" } ?? ""
            let note = self.note.flatMap { $0.isEmpty ? nil : ": \($0)" } ?? ""
            notes.append("\(self.id) \(Self.wish(desired, in: self.state))\(by)\(note)")
        }
        return notes
    }
    /// Why it may be down, according to the members. Nil if it is up.
    var presenceWords: String? {
        guard !["down", "fenced"].contains(self.state) else { return nil }
        var reasons: [String] = []
        if !self.notSeenBy.isEmpty {
            let unseen = self.witnesses - self.seenBy
            let more = unseen > self.notSeenBy.count ? " and \(Readable.count(unseen - self.notSeenBy.count)) more" : ""
            reasons.append("not seen by \(self.notSeenBy.joined(separator: ", "))\(more)")
        }
        if self.isSilent, self.presence != "unknown" { reasons.append(self.reportAgeMs.map { "no report for \($0 / 1000) s" } ?? "no report") }
        switch self.presence {
        case "up": return self.notSeenBy.isEmpty ? nil : "is \(reasons[0])"
        case "down": return "is down: its link port is closed"
        case "suspect" where reasons.isEmpty: return "is suspect: it reaches \(self.sees ?? 0) of \(self.peers ?? 0) others"
        case "suspect": return "is suspect: \(reasons.joined(separator: "; "))"
        default: return nil
        }
    }
}
