import ArgumentParser

/// The kinds of events, as a node names them.
enum EventKind: String, ExpressibleByArgument, CaseIterable, Sendable {
    case joined
    case blocked
    case waiting
    case evicted
    case left
    case sessionLost = "session_lost"
    case elected
    case deposed
    case node
    case granted
    case moved
    case mode
    case removed
    case operation
    case alarm
}

/// Selects events. Every given condition must match. Pure.
struct EventFilter: Sendable {
    var node: String?
    /// Empty for all of them.
    var kinds: Set<EventKind> = []
    var viewMin = 0

    var isEmpty: Bool { self.node == nil && self.kinds.isEmpty && self.viewMin == 0 }

    func takes(_ event: ClusterEvents.Event) -> Bool {
        guard event.view >= self.viewMin else { return false }
        if !self.kinds.isEmpty { guard let kind = EventKind(rawValue: event.kind), self.kinds.contains(kind) else { return false } }
        return self.node.map { event.node == $0 || Self.names($0, in: event.text) } ?? true
    }

    /// Transfers name the other nodes only in their text.
    private static func names(_ node: String, in text: String) -> Bool {
        text.split { !$0.isASCII || !($0.isLetter || $0.isNumber || "_.-".contains($0)) }.contains { word in
            word == node || word.hasSuffix(".") && word.dropLast() == node
        }
    }

    /// The response as received, without the events that do not match.
    func json(_ look: ClusterClient.Look<ClusterEvents>) -> String {
        guard !self.isEmpty else { return look.json }
        let events = self.events(of: look.json, among: look.report.events).map { String(decoding: $0, as: UTF8.self) }
        return "{\"through\":\(RawJSON.quoted(look.report.through)),\"events\":[\(events.joined(separator: ","))]}"
    }

    /// The JSON of the matching events, each as received.
    func events(of json: String, among events: [ClusterEvents.Event]) -> [[UInt8]] {
        let numbers = Set(events.filter(self.takes).map(\.number))
        let elements = RawJSON.members(Array(json.utf8))?["events"].flatMap { RawJSON.elements($0) } ?? []
        return elements.filter { element in
            RawJSON.members(element)?["number"].flatMap { RawJSON.integer($0) }.map { numbers.contains($0) } ?? false
        }
    }
}
