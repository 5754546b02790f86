import AdminAPI
import JSON

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension ClusterEvents: ClusterReport {
    static let kind = AdminRequest.Kind.events

    var exitStatus: CommandStatus { .ok }

    func table(on terminal: Terminal) -> String { self.table(of: self.events, on: terminal) }

    /// A table of some of the response's events. Its last line shows the number of these events and of all events.
    func table(of events: [ClusterEvent], on terminal: Terminal) -> String {
        var table = EventTable()
        let lines = table.lines(events, on: terminal)
        let count = events.count == self.events.count ? "" : ": \(Readable.count(events.count)) of \(Readable.count(self.events.count)) events"
        let more = table.isNarrow ? "; -w also shows numbers and views" : ""
        return (lines + [terminal.footer("reported by \(self.through)\(count)\(more)")]).joined(separator: "\n")
    }
}

extension ClusterEvent {
    var time: String { Date(timeIntervalSince1970: Double(self.at / 1000)).formatted(.iso8601) }
}
