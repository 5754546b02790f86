#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The response of `GET /api/events`: the newest events of the responding node, which is the controller if it can be reached.
struct ClusterEvents: ClusterReport, Equatable {
    static let path = "/api/events"

    struct Event: Decodable, Equatable, Sendable {
        /// Counts the events of the responding node.
        var number: Int
        var kind: String
        /// Milliseconds since 1970.
        var at: Int
        var node: String
        var view: Int
        var text: String

        var time: String { Date(timeIntervalSince1970: Double(self.at / 1000)).formatted(.iso8601) }
    }

    var through: String
    var events: [Event]

    var exitStatus: CommandStatus { .ok }

    func table(on terminal: Terminal) -> String { self.table(of: self.events, on: terminal) }

    /// The selected events, and the number of all events.
    func table(of events: [Event], on terminal: Terminal) -> String {
        var table = EventTable()
        let lines = table.lines(events, on: terminal)
        let count = events.count == self.events.count ? "" : ": \(Readable.count(events.count)) of \(Readable.count(self.events.count)) events"
        let more = table.isNarrow ? "; -w shows numbers and views too" : ""
        return (lines + [terminal.footer("reported by \(self.through)\(count)\(more)")]).joined(separator: "\n")
    }
}
