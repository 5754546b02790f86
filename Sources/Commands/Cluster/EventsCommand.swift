import AdminAPI
import Options
package import ArgumentParser

package struct EventsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show the cluster's events: joins, failures, moves of partitions, operators' requests.",
        usage: "realertime events [<options>]",
        discussion: """
            EXAMPLES:
              realertime events
              realertime events -f --kind operation --kind alarm
              realertime events --node n2 --since 8100
              realertime events --after 120 -o json

            The controller keeps its newest 1,000 operators' requests, 1,000 transfers of partitions and 1,000 other events. After \
            a change of controller, the command shows the new controller's history, in which events have other numbers. All moves of a drain are \
            one event, at the end of the drain. With -f and -o json each event is one line.

            EXIT STATUS:
              0 success
              2 the request was refused, or the node of --node is unknown
              3 the node cannot be reached
              64 wrong usage
            """)

    @Flag(name: [.customShort("f"), .long], help: "Wait for new events and print them, until Ctrl-C.")
    var follow = false

    @Option(help: ArgumentHelp("Show only events that are about this node or mention this node.", valueName: "node"))
    var node: String?

    @Option(help: "Show only events of this kind. Can be given several times.")
    var kind: [ClusterEvent.Kind] = []

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Show only events at or after this version of the view, the table of nodes and partition owners. (default: 0)", valueName: "view"),
        transform: wholeNumber(0 ... .max))
    var since = 0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Show only events with a number above this number. (default: 0)", valueName: "number"),
        transform: wholeNumber(0 ... .max)
    )
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
                let fetched = try await cluster.fetch(ClusterEvents.self, at: Self.path(after: after))
                let events = fetched.report.events.filter(filter.matches)
                // For a mistyped node id, an empty table would mislead. A node that was removed from the cluster may still have events.
                if events.isEmpty, let message = try await self.unknownNodeMessage(cluster) { throw CommandError(.critical, message) }
                let table = fetched.report.table(of: events, on: terminal)
                try terminal.write("\(output == .json ? filter.json(fetched) : table)\n".utf8)
                return .ok
            }
            // An unknown node is not an error here, because the node may join later.
            if let message = try await self.unknownNodeMessage(cluster) { Terminal.standardError.printSentence(message) }
            let ended: Void? = try await untilInterrupted(orClosed: terminal) { try await Self.follow(cluster, after: after, filter, output, terminal) }
            _ = ended
            return .ok
        }
    }

    private func unknownNodeMessage(_ cluster: ClusterClient) async throws -> String? {
        guard let node else { return nil }
        return try await cluster.unknownNodeMessage(node)
    }

    private static func path(after number: Int) -> String { "\(ClusterEvents.kind.path)?after=\(number)" }

    private static func follow(
        _ cluster: ClusterClient, after: Int, _ filter: EventFilter, _ output: OutputFormat, _ terminal: Terminal
    ) async throws {
        var tail = EventTail(after: after)
        var table = EventTable()
        var lastMessage: String?
        while !Task.isCancelled {
            do {
                let fetched = try await cluster.fetch(ClusterEvents.self, at: Self.path(after: tail.after))
                let step = tail.accept(fetched.report)
                if let notice = step.notice { Terminal.standardError.printSentence(notice) }
                // JSON output is one object for each event, because an array would never end.
                let lines =
                    output == .json
                    ? filter.events(of: fetched.json, among: step.events).map { Array("\($0)\n".utf8) }
                    : table.lines(step.events.filter(filter.matches), on: terminal).map { Array("\($0)\n".utf8) }
                for line in lines { try terminal.write(line) }
                lastMessage = nil
                if step.mustRestart { continue }
            } catch let failure as CommandError {
                if tail.through == nil { throw failure }
                if lastMessage != failure.message { Terminal.standardError.printSentence(failure.message) }
                lastMessage = failure.message
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }
}

/// Determines which events are new. Each controller numbers its own events, so a change of the controller is detected. Pure.
struct EventTail: Sendable {
    struct Step: Sendable {
        var events: [ClusterEvent]
        var notice: String?
        /// Another controller responded. The caller must request the history of this controller from the start.
        var mustRestart = false
    }

    private(set) var after: Int
    private(set) var through: String?
    private var lastAt: Int64 = 0
    /// The next report is the whole history of another controller. Some of these events may have been printed before.
    private var isCatchingUp = false

    init(after: Int) {
        self.after = after
    }

    mutating func accept(_ report: ClusterEvents) -> Step {
        let before = self.through
        self.through = report.through
        if let before, before != report.through {
            self.after = 0
            self.isCatchingUp = true
            return Step(
                events: [], notice: "The following events are reported by \(report.through) instead of \(before). Some of these events may be repeated.",
                mustRestart: true)
        }
        let events = self.isCatchingUp ? report.events.filter { $0.at >= self.lastAt } : report.events
        self.isCatchingUp = false
        self.after = report.events.last.map { Int($0.number) } ?? self.after
        self.lastAt = max(self.lastAt, events.last?.at ?? 0)
        return Step(events: events)
    }
}
