import AdminAPI
import JSON

extension ClusterMembers: ClusterReport {
    static let kind = AdminRequest.Kind.members

    var exitStatus: CommandStatus { self.members.reduce(self.head.exitStatus) { $0.worse($1.exitStatus) } }

    static let legend = "U up, D down, F fenced, S suspect, ? unknown; A active, J joining, C cordoned, D draining, E drained, R being removed"

    func table(on terminal: Terminal) -> String {
        var table = Table(Self.columns, names: 1)
        for member in self.members { table.add(member.cells) }
        let text = table.text(on: terminal) { row, column, cell in column == 0 ? terminal.paint(cell, self.members[row].colour) : cell }
        let notes = self.head.notes(on: terminal) + self.members.flatMap(\.notes).map { terminal.sentence($0, lead: "! ", .yellow) }
        return ([text] + notes + [Self.legend, self.head.footer].map { terminal.footer($0) }).joined(separator: "\n")
    }

    /// Columns that change come first. Columns that rarely change come last, because a narrow terminal leaves out the last columns.
    private static let columns = [
        Table.Column("ST"), .init("NODE"), .init("OWNS"), .init("MOVING"), .init("CONNECTIONS"), .init("PUBLISHED"), .init("DELIVERED"), .init("REACHES"),
        .init("SESSION", widthMin: 10), .init("SHARE", widthMin: 6), .init("UPTIME", widthMin: 7), .init("ZONE"), .init("WEIGHT"), .init("VERSION"),
        .init("INCARNATION"), .init("API"), .init("LINK"),
    ]
}

extension ClusterMembers.Member {
    private static let reportAgeMillisecondsMax = 5000

    /// Whether the responding node has no report of this member, or only an old report.
    var hasNoCurrentReport: Bool { self.incarnation != nil && (self.report?.ageMilliseconds ?? .max) > Self.reportAgeMillisecondsMax }

    /// Two letters: the first is the member's condition, the second its desired state.
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
        let state = ["down", "fenced"].contains(self.state) ? self.desired?.state ?? "active" : self.state
        let second = ["active": "A", "joining": "J", "cordoned": "C", "draining": "D", "drained": "E", "removed": "R"][state] ?? "?"
        return first + second
    }

    var exitStatus: CommandStatus {
        switch self.state {
        case "down": return self.desired?.state == "draining" ? .ok : .degraded
        case "fenced", "joining": return .degraded
        default:
            let isHealthy = self.presence == .up && self.seenBy == self.witnesses && self.report?.session.map { $0 == "connected" } ?? true
            return (isHealthy ? CommandStatus.ok : .degraded).worse(self.report?.health.exitStatus ?? .ok)
        }
    }

    fileprivate var cells: [String] {
        [
            self.code, self.id, Readable.count(self.owned), self.movingText, Self.text(self.report.map { Readable.count($0.connections) }),
            Self.text(self.report.map { Readable.rate($0.publishedPerSecond) }), Self.text(self.report.map { Readable.rate($0.deliveredPerSecond) }),
            self.reachesText,
            self.sessionText, "\(Readable.fixed(self.share * 100, 1))%", Self.text(self.report?.uptimeSeconds.map { Readable.duration(seconds: $0) }),
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

    /// The progress from the state to the desired state, as text after the node's name, such as "is drained".
    private static func progress(of desired: String, in state: String) -> String {
        let done = desired == "draining" ? "drained" : desired
        return state == done ? "is \(done)" : state == desired ? "is being \(done)" : "will be \(done)"
    }

    private var movingText: String {
        let counts = (self.movingIn > 0 ? ["+\(self.movingIn)"] : []) + (self.movingOut > 0 ? ["-\(self.movingOut)"] : [])
        return counts.isEmpty ? "-" : counts.joined(separator: " ")
    }

    /// The state of the ZooKeeper session in the member's newest report, and the age of that report.
    private var sessionText: String {
        guard self.incarnation != nil else { return "none" }
        guard let session = self.report.map({ $0.session ?? "connected" }) else { return "no report" }
        let age = self.report.map { "\(Readable.fixed(Double($0.ageMilliseconds) / 1000, 1))s" } ?? ""
        if self.hasNoCurrentReport { return "no report \(age)" }
        // The age is not shown after another state, because a reader would take it for the time since the session changed.
        return session == "connected" ? "live \(age)" : session
    }

    private var reachesText: String {
        guard let report else { return "-" }
        return "\(report.sees)/\(report.peers)"
    }

    /// The problems of this member. Each member that makes the exit status other than 0 has at least one line.
    fileprivate var notes: [String] {
        var notes: [String] = []
        switch self.state {
        case "down" where self.desired?.state != "draining": notes.append("\(self.id) is down: start it, or remove it with realertime forget \(self.id)")
        case "fenced": notes.append("\(self.id) is fenced: most nodes cannot reach its link address \(self.link)")
        case "joining": notes.append("\(self.id) is joining: it owns no partitions until the controller and half of the other nodes can reach it")
        default: break
        }
        if let presence = self.presenceText { notes.append("\(self.id) \(presence)") }
        if let report, self.state != "down" {
            if let session = report.session, session != "connected" { notes.append("\(self.id) has no connection to ZooKeeper: its session is \(session)") }
            if report.health != .healthy {
                notes.append("\(self.id) reports that it is \(report.health.rawValue): realertime status --api \(self.api) shows the reason")
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

    /// Why the member may not be up, according to the other members. Nil if all other members reach it.
    var presenceText: String? {
        guard !["down", "fenced"].contains(self.state) else { return nil }
        var reasons: [String] = []
        if !self.notSeenBy.isEmpty {
            let unseen = self.witnesses - self.seenBy
            let more = unseen > self.notSeenBy.count ? " and \(Readable.count(unseen - self.notSeenBy.count)) more" : ""
            reasons.append("unreachable from \(self.notSeenBy.joined(separator: ", "))\(more)")
        }
        if self.hasNoCurrentReport, self.presence != .unknown {
            reasons.append(self.report.map { "no report for \($0.ageMilliseconds / 1000) s" } ?? "no report")
        }
        switch self.presence {
        case .up: return self.notSeenBy.isEmpty ? nil : "is \(reasons[0])"
        case .down: return "is down: its link port is closed"
        case .suspect where reasons.isEmpty: return "is suspect: it reaches only \(self.report?.sees ?? 0) of \(self.report?.peers ?? 0) other nodes"
        case .suspect: return "is suspect: \(reasons.joined(separator: "; "))"
        case .unknown: return nil
        }
    }
}
