import AdminAPI
import ArgumentParser
import JSON

extension ClusterEvent.Kind: ExpressibleByArgument {}

/// Selects the events that match all conditions. Pure.
struct EventFilter: Sendable {
    var node: String?
    /// The kinds that match. If the set is empty, all kinds match.
    var kinds: Set<ClusterEvent.Kind> = []
    var viewMin = 0

    var isEmpty: Bool { self.node == nil && self.kinds.isEmpty && self.viewMin == 0 }

    func matches(_ event: ClusterEvent) -> Bool {
        guard event.viewVersion >= self.viewMin else { return false }
        guard self.kinds.isEmpty || self.kinds.contains(event.kind) else { return false }
        return self.node.map { event.node == $0 || Self.names($0, in: event.text) } ?? true
    }

    /// Whether the text contains the node's id as a word. An event about a transfer names the second node only in its text.
    private static func names(_ node: String, in text: String) -> Bool {
        text.split { !$0.isASCII || !($0.isLetter || $0.isNumber || "_.-".contains($0)) }.contains { word in
            word == node || word.hasSuffix(".") && word.dropLast() == node
        }
    }

    /// The received response without the events that do not match. All other bytes are unchanged.
    func json(_ fetched: ClusterClient.Fetched<ClusterEvents>) -> String {
        guard !self.isEmpty else { return fetched.json }
        return writtenJSON { writer in
            writer.object { writer in
                writer.field("through", fetched.report.through)
                writer.name("events")
                writer.array { writer in for event in self.events(of: fetched.json, among: fetched.report.events) { writer.raw(event) } }
            }
        }
    }

    /// The JSON of each matching event, unchanged.
    func events(of json: String, among events: [ClusterEvent]) -> [String] {
        let numbers = Set(events.filter(self.matches).map { Int($0.number) })
        var fields = JSONObject(Array(json.utf8))
        return (fields?.take("events")?.elements ?? []).filter { element in
            var fields = element.fields
            return fields?.take("number")?.integer.map { numbers.contains($0) } ?? false
        }.map(\.text)
    }
}
