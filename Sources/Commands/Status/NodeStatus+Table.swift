import AdminAPI
import JSON

extension NodeStatus {
    static let path = "/api/status"

    /// Reads a response. Characters that control a terminal are escaped.
    init(json: [UInt8]) throws {
        guard let value = sanitizedJSON(json), let status = try? NodeStatus(value) else { throw CommandError.unknownResponse(of: Self.path) }
        self = status
    }

    var exitStatus: CommandStatus { self.health.exitStatus }

    /// One line for each fact, with the label first. The reasons for bad health follow.
    func table(on terminal: Terminal) -> String {
        var facts = Facts()
        facts.add("node", self.node.id)
        facts.add("health", self.health.rawValue, self.health.colour)
        facts.add("state", "\(self.node.state), up \(Readable.duration(seconds: self.node.uptimeSeconds)) since \(self.node.startedAt)")
        facts.add(
            "version", "\(self.node.version) (\(self.node.commit)), pid \(self.node.pid), \(Readable.count(self.node.loops, "loop"))")
        if let cluster { facts.add("zookeeper", "\(cluster.session) (session of \(self.node.id))") }
        facts.add("listen", self.listen)
        facts.add("api", self.api)
        facts.add("log", self.logText)
        facts.add(
            "history", "\(Readable.count(self.log.events, "event")), \(Readable.bytes(self.log.bytes)), \(Readable.count(self.log.channels, "channel"))")
        facts.add("connections", self.connectionText)
        facts.add("by transport", self.transportText)
        facts.add("subscriptions", Readable.count(self.subscribers.subscriptions))
        facts.add("published", "\(Readable.rate(self.rates.publishedPerSecond)), \(Readable.count(self.totals.published)) in total")
        facts.add("delivered", "\(Readable.rate(self.rates.deliveredPerSecond)), \(Readable.count(self.totals.delivered)) in total")
        facts.add(
            "other",
            "\(Readable.count(self.totals.duplicates, "duplicate")), \(Readable.count(self.totals.gaps, "gap")), \(Readable.count(self.totals.refused)) refused"
        )
        if let relay { facts.add("data path", Self.text(of: relay)) }
        let reasons = self.reasons.map { terminal.sentence($0, lead: "! ", self.health.colour) }
        return ([facts.text(on: terminal, labelWidth: Facts.statusLabelWidth)] + reasons).joined(separator: "\n")
    }

    private static func text(of relay: Relay) -> String {
        var parts = ["\(Readable.count(relay.connectionsOut)) connections out, \(Readable.count(relay.connectionsIn)) in"]
        parts.append("\(Readable.count(relay.waiting)) publishes wait for an owner, \(Readable.count(relay.atOtherNodes)) for another node")
        parts.append("\(Readable.count(relay.sentAgain)) sent again, \(Readable.count(relay.expired)) expired")
        parts.append("\(Readable.count(relay.edgesBehind)) edges behind, \(Readable.count(relay.unroutedPartitions)) partitions without an owner")
        return parts.joined(separator: "; ")
    }

    private var logText: String {
        let place = self.log.path.map { " in \($0)" } ?? ""
        let error = self.log.error.map { ": \($0)" } ?? ""
        return "\(self.log.kind)\(place), durability \(self.log.durability), \(self.log.state)\(error)"
    }

    private var connectionText: String {
        let used = self.subscribers.connections
        let max = self.subscribers.connectionsMax
        let share = max > 0 ? " (\(Readable.fixed(Double(used) * 100 / Double(max), 1)) %)" : ""
        return "\(Readable.count(used)) of \(Readable.count(max))\(share)"
    }

    private var transportText: String {
        self.subscribers.byTransport.map { "\($0.transport) \(Readable.count($0.count))" }.joined(separator: ", ")
    }
}
