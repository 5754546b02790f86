extension NodeStatus {
    /// A line a fact, the label first; the reasons of bad health below.
    func table(on terminal: Terminal) -> String {
        var columns = Columns()
        columns.add("node", self.node.id)
        columns.add("health", self.health.rawValue)
        columns.add("state", "\(self.node.state), up \(Readable.duration(seconds: self.node.uptimeSeconds)) since \(self.node.startedAt)")
        columns.add(
            "version", "\(self.node.version) (\(self.node.commit)), pid \(self.node.pid), \(Readable.count(self.node.loops, "loop"))")
        if let cluster { columns.add("zookeeper", "\(cluster.session) (of \(self.node.id))") }
        columns.add("listen", self.listen)
        columns.add("api", self.api)
        columns.add("log", self.logWords)
        columns.add(
            "history", "\(Readable.count(self.log.events, "event")), \(Readable.bytes(self.log.bytes)), \(Readable.count(self.log.channels, "channel"))")
        columns.add("connections", self.connectionWords)
        columns.add("by transport", self.transportWords)
        columns.add("subscriptions", Readable.count(self.subscribers.subscriptions))
        columns.add("published", "\(Readable.rate(self.rates.publishedPerSecond)), \(Readable.count(self.totals.published)) in all")
        columns.add("delivered", "\(Readable.rate(self.rates.deliveredPerSecond)), \(Readable.count(self.totals.delivered)) in all")
        columns.add(
            "also",
            "\(Readable.count(self.totals.duplicates, "duplicate")), \(Readable.count(self.totals.gaps, "gap")), \(Readable.count(self.totals.refused)) refused"
        )
        let table = columns.text(labelWidth: StatusView.labelWidth) { row, column, cell in
            if column == 0 { return terminal.paint(cell, .dim) }
            return row == 1 ? terminal.paint(cell, self.colour) : cell
        }
        return ([table] + self.reasons.map { terminal.paint("! ", self.colour) + $0 }).joined(separator: "\n")
    }

    private var colour: Terminal.Colour { self.health.colour }

    private var logWords: String {
        let place = self.log.path.map { " in \($0)" } ?? ""
        let error = self.log.error.map { ": \($0)" } ?? ""
        return "\(self.log.kind)\(place), durability \(self.log.durability), \(self.log.state)\(error)"
    }

    private var connectionWords: String {
        let used = self.subscribers.connections
        let max = self.subscribers.connectionsMax
        let share = max > 0 ? " (\(Readable.fixed(Double(used) * 100 / Double(max), 1)) %)" : ""
        return "\(Readable.count(used)) of \(Readable.count(max))\(share)"
    }

    private var transportWords: String {
        let order = ["sse", "websocket", "longpoll", "stream"]
        let names = order.filter { self.subscribers.byTransport[$0] != nil } + self.subscribers.byTransport.keys.filter { !order.contains($0) }.sorted()
        return names.map { "\($0) \(Readable.count(self.subscribers.byTransport[$0] ?? 0))" }.joined(separator: ", ")
    }
}
