import AdminAPI
package import ArgumentParser

package struct EventsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show what happened in the cluster: joins, losses, moves, operators' requests.",
        usage: "realertime events [<options>]",
        discussion: """
            EXAMPLES:
              realertime events
              realertime events -f --kind operation --kind alarm
              realertime events --node n2 --since 8100
              realertime events --after 120 -o json

            The controller keeps the newest 1,000 operations, 1,000 transfers of partitions and 1,000 others that it has seen; a new \
            controller has a history of its own, with numbers of its own. Views are the whole cluster's. A drain is one event, which comes \
            when it has ended. With -f, -o json prints an event a line.

            \(Help.exitStatus)
            """)

    @Flag(name: [.customShort("f"), .long], help: "Continue with new events, until Ctrl-C.")
    var follow = false

    @Option(help: ArgumentHelp("Only those that are about this node, or that name it.", valueName: "node"))
    var node: String?

    @Option(help: "Only those of this kind. Repeatable.")
    var kind: [ClusterEvent.Kind] = []

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Only those under this version of the view or a later one.", valueName: "view"),
        transform: whole(0 ... .max))
    var since = 0

    @Option(parsing: .unconditional, help: ArgumentHelp("Only those after this number.", valueName: "number"), transform: whole(0 ... .max))
    var after = 0

    @OptionGroup var table: TableOptions
    @OptionGroup var options: ClusterOptions

    package init() {}

    package func run() async throws {
        let output = self.options.output
        let after = self.after
        let terminal = self.table.terminal
        let filter = EventFilter(node: self.node, kinds: Set(self.kind), viewMin: self.since)
        try await self.options.run { cluster in
            guard self.follow else {
                let look = try await cluster.look(ClusterEvents.self, at: Self.path(after: after))
                let events = look.report.events.filter(filter.takes)
                // An empty table would look like a node without events. A forgotten node may still have events.
                if events.isEmpty, let complaint = try await self.unknownNode(cluster) { throw Failure(.critical, complaint) }
                let table = look.report.table(of: events, on: terminal)
                try terminal.write("\(output == .json ? filter.json(look) : table)\n".utf8)
                return .ok
            }
            // It may be about to join.
            if let notice = try await self.unknownNode(cluster) { Terminal.standardError.say(notice) }
            let ended: Void? = try await untilInterrupted(orClosed: terminal) { try await Self.follow(cluster, after: after, filter, output, terminal) }
            _ = ended
            return .ok
        }
    }

    private func unknownNode(_ cluster: ClusterClient) async throws -> String? {
        guard let node else { return nil }
        let known = try await cluster.look(ClusterMembers.self).report.members.map(\.id)
        return known.contains(node) ? nil : "There is no node \(node) in this cluster. There are: \(known.joined(separator: ", "))."
    }

    private static func path(after number: Int) -> String { "\(ClusterEvents.kind.path)?after=\(number)" }

    private static func follow(
        _ cluster: ClusterClient, after: Int, _ filter: EventFilter, _ output: OutputFormat, _ terminal: Terminal
    ) async throws {
        var tail = EventTail(after: after)
        var table = EventTable()
        var complaint: String?
        while !Task.isCancelled {
            do {
                let look = try await cluster.look(ClusterEvents.self, at: Self.path(after: tail.after))
                let step = tail.take(look.report)
                if let notice = step.notice { Terminal.standardError.say(notice) }
                // As separate objects, because the output has no end.
                let lines =
                    output == .json
                    ? filter.events(of: look.json, among: step.events).map { Array("\($0)\n".utf8) }
                    : table.lines(step.events.filter(filter.takes), on: terminal).map { Array("\($0)\n".utf8) }
                for line in lines { try terminal.write(line) }
                complaint = nil
                if step.isAgain { continue }
            } catch let failure as Failure {
                if tail.through == nil { throw failure }
                if complaint != failure.message { Terminal.standardError.say(failure.message) }
                complaint = failure.message
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }
}

/// Determines which events are new, across controllers that each count their own. Pure.
struct EventTail: Sendable {
    struct Step: Sendable {
        var events: [ClusterEvent]
        var notice: String?
        /// Another controller responded: request its history from the start.
        var isAgain = false
    }

    private(set) var after: Int
    private(set) var through: String?
    private var lastAt: Int64 = 0
    /// Events of another controller, some of which may have been printed.
    private var isCatchingUp = false

    init(after: Int) {
        self.after = after
    }

    mutating func take(_ report: ClusterEvents) -> Step {
        let before = self.through
        self.through = report.through
        if let before, before != report.through {
            self.after = 0
            self.isCatchingUp = true
            return Step(events: [], notice: "from here on \(report.through) reports, instead of \(before); some events may be repeated", isAgain: true)
        }
        let events = self.isCatchingUp ? report.events.filter { $0.at >= self.lastAt } : report.events
        self.isCatchingUp = false
        self.after = report.events.last.map { Int($0.number) } ?? self.after
        self.lastAt = max(self.lastAt, events.last?.at ?? 0)
        return Step(events: events)
    }
}
