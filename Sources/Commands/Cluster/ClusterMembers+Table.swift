import AdminAPI
import JSON

extension ClusterMembers: ClusterReport {
    static let kind = AdminRequest.Kind.members

    var exitStatus: CommandStatus { self.members.reduce(self.head.exitStatus) { $0.worse($1.exitStatus) } }

    static let legend = "U up, D down, F fenced, S suspect, ? not known; A active, J joining, C cordoned, D draining, E drained, R to be removed"

    func table(on terminal: Terminal) -> String {
        var table = Table(Self.columns, names: 1)
        for member in self.members { table.add(member.cells) }
        let text = table.text(on: terminal) { row, column, cell in column == 0 ? terminal.paint(cell, self.members[row].colour) : cell }
        let notes = self.head.notes(on: terminal) + self.members.flatMap(\.notes).map { terminal.sentence($0, lead: "! ", .yellow) }
        return ([text] + notes + [Self.legend, self.head.words].map { terminal.footer($0) }).joined(separator: "\n")
    }

    /// What changes and matters comes first; what never changes is the first to be left out.
    private static let columns = [
        Table.Column("ST"), .init("NODE"), .init("OWNS"), .init("MOVING"), .init("CONNECTIONS"), .init("PUBLISHED"), .init("DELIVERED"), .init("SEES"),
        .init("SESSION", widthMin: 10), .init("SHARE", widthMin: 6), .init("UPTIME", widthMin: 7), .init("ZONE"), .init("WEIGHT"), .init("VERSION"),
        .init("INCARNATION"), .init("API"), .init("LINK"),
    ]
}

extension ClusterMembers.Member {
    private static let reportAgeMillisecondsMax = 5000

    /// A member of which the node that answers has no report, or only one that says nothing about now.
    var isSilent: Bool { self.incarnation != nil && (self.report?.ageMilliseconds ?? .max) > Self.reportAgeMillisecondsMax }

    /// Two letters: how it is, and what it is for.
    var code: String {
        let first =
            switch (self.state, self.presence) {
            case ("down", _): "D"
            case ("fenced", _): "F"
            case (_, .down): "D"
            case (_, .suspect): "S"
            case (_, .up): "U"
            case (_, .unknown): "?"
            }
        let purpose = ["down", "fenced"].contains(self.state) ? self.desired?.state ?? "active" : self.state
        let second = ["active": "A", "joining": "J", "cordoned": "C", "draining": "D", "drained": "E", "removed": "R"][purpose] ?? "?"
        return first + second
    }

    var exitStatus: CommandStatus {
        switch self.state {
        case "down": return self.desired?.state == "draining" ? .ok : .degraded
        case "fenced", "joining": return .degraded
        default:
            let isWell = self.presence == .up && self.seenBy == self.witnesses && self.report?.session.map { $0 == "connected" } ?? true
            return (isWell ? CommandStatus.ok : .degraded).worse(self.report?.health.exitStatus ?? .ok)
        }
    }

    fileprivate var cells: [String] {
        [
            self.code, self.id, Readable.count(self.owned), self.movingWords, Self.text(self.report.map { Readable.count($0.connections) }),
            Self.text(self.report.map { Readable.rate($0.publishedPerSecond) }), Self.text(self.report.map { Readable.rate($0.deliveredPerSecond) }),
            self.seesWords,
            self.sessionWords, "\(Readable.fixed(self.share * 100, 1))%", Self.text(self.report?.uptimeSeconds.map { Readable.duration(seconds: $0) }),
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

    /// How far the state has come to the one that was requested.
    private static func progress(of desired: String, in state: String) -> String {
        let done = desired == "draining" ? "drained" : desired
        return state == done ? "is \(done)" : state == desired ? "is being \(done)" : "is to be \(done)"
    }

    private var movingWords: String {
        let words = (self.movingIn > 0 ? ["+\(self.movingIn)"] : []) + (self.movingOut > 0 ? ["-\(self.movingOut)"] : [])
        return words.isEmpty ? "-" : words.joined(separator: " ")
    }

    /// What its session does by its newest report, and how old that is. Without a report nothing is known of it.
    private var sessionWords: String {
        guard self.incarnation != nil else { return "none" }
        guard let session = self.report.map({ $0.session ?? "connected" }) else { return "no report" }
        let age = self.report.map { "\(Readable.fixed(Double($0.ageMilliseconds) / 1000, 1))s" } ?? ""
        if self.isSilent { return "no report \(age)" }
        // The age is the report's: beside another word it would read as how long the session has been so.
        return session == "connected" ? "live \(age)" : session
    }

    private var seesWords: String {
        guard let report else { return "-" }
        return "\(report.sees)/\(report.peers)"
    }

    /// What needs attention: at least one line for each member that is why the exit status is not 0.
    fileprivate var notes: [String] {
        var notes: [String] = []
        switch self.state {
        case "down" where self.desired?.state != "draining": notes.append("\(self.id) is down: start it, or remove it with realertime forget \(self.id)")
        case "fenced": notes.append("\(self.id) is fenced: most nodes cannot reach it at \(self.link)")
        case "joining": notes.append("\(self.id) is joining: it owns nothing before the controller and half of the others reach it")
        default: break
        }
        if let words = self.presenceWords { notes.append("\(self.id) \(words)") }
        if let report, self.state != "down" {
            if let session = report.session, session != "connected" { notes.append("\(self.id) has no connection to ZooKeeper: its session is \(session)") }
            if report.health != .healthy {
                notes.append("\(self.id) reports that it is \(report.health.rawValue): realertime status --api \(self.api) says why")
            }
        }
        if let alarm = self.report?.alarm { notes.append("alarm at \(self.id): \(alarm)") }
        if let desired, desired.state != "active" {
            let by = desired.by.isEmpty ? "" : " by \(desired.by)"
            let note = desired.note.isEmpty ? "" : ": \(desired.note)"
            notes.append("\(self.id) \(Self.progress(of: desired.state, in: self.state))\(by)\(note)")
        }
        return notes
    }

    /// Why it may not be up, as the members say; nil when nothing is wrong with that.
    var presenceWords: String? {
        guard !["down", "fenced"].contains(self.state) else { return nil }
        var reasons: [String] = []
        if !self.notSeenBy.isEmpty {
            let unseen = self.witnesses - self.seenBy
            let more = unseen > self.notSeenBy.count ? " and \(Readable.count(unseen - self.notSeenBy.count)) more" : ""
            reasons.append("not seen by \(self.notSeenBy.joined(separator: ", "))\(more)")
        }
        if self.isSilent, self.presence != .unknown { reasons.append(self.report.map { "no report for \($0.ageMilliseconds / 1000) s" } ?? "no report") }
        switch self.presence {
        case .up: return self.notSeenBy.isEmpty ? nil : "is \(reasons[0])"
        case .down: return "is down: its link port is closed"
        case .suspect where reasons.isEmpty: return "is suspect: it reaches \(self.report?.sees ?? 0) of \(self.report?.peers ?? 0) others"
        case .suspect: return "is suspect: \(reasons.joined(separator: "; "))"
        case .unknown: return nil
        }
    }
}
