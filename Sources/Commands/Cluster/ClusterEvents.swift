#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What `GET /api/events` says: the newest events of the node that answers, the controller where it can be asked.
struct ClusterEvents: ClusterReport, Equatable {
    static let path = "/api/events"

    struct Event: Decodable, Equatable, Sendable {
        /// Counts the events of who tells them.
        var number: Int
        var kind: String
        /// Milliseconds since 1970.
        var at: Int
        var node: String
        var view: Int
        var text: String

        var time: String { Date(timeIntervalSince1970: Double(self.at / 1000)).formatted(.iso8601) }

        /// With widths that fit most, as the events that follow are not known yet.
        func row(on terminal: Terminal) -> String {
            func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
            let kind = ["alarm", "evicted", "session_lost", "blocked"].contains(self.kind) ? Terminal.Colour.yellow : .bold
            return terminal.paint(self.time, .dim) + "  " + terminal.paint(padded(self.kind, 12), kind) + "  "
                + padded(self.node.isEmpty ? "-" : self.node, 10) + "  " + padded("v\(self.view)", 7) + "  \(self.text)"
        }
    }

    var through: String
    var events: [Event]

    var exitStatus: CommandStatus { .ok }

    func table(on terminal: Terminal) -> String {
        (self.events.map { $0.row(on: terminal) } + [terminal.paint("told by \(self.through)", .dim)]).joined(separator: "\n")
    }
}
