package import ArgumentParser

package struct EventsCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "events",
        abstract: "Show what happened in the cluster: who came and went, what moved, who asked for it.",
        discussion: """
            EXAMPLES:
              realertime events
              realertime events -f
              realertime events --after 120 -o json

            The controller tells the newest 1,000 that it has seen; a new controller has a history of its own.

            \(Help.exitStatus)
            """)

    @Flag(name: [.customShort("f"), .long], help: "Go on with what happens, until Ctrl-C.")
    var follow = false

    @Option(help: ArgumentHelp("Only those after this number.", valueName: "number"))
    var after = 0

    @OptionGroup var options: ClusterOptions

    package init() {}

    package func validate() throws {
        if self.after < 0 { throw ValidationError("--after is the number of an event.") }
    }

    package func run() async throws {
        guard self.follow else { return try await self.options.show(ClusterEvents.self, at: "\(ClusterEvents.path)?after=\(self.after)") }
        let output = self.options.output
        let after = self.after
        try await self.options.run { cluster in
            let ended: Void? = try await untilInterrupted { try await Self.follow(cluster, after: after, output) }
            _ = ended
            return .ok
        }
    }

    private static func follow(_ cluster: ClusterClient, after: Int, _ output: OutputFormat) async throws {
        var tail = EventTail(after: after)
        var complaint: String?
        while !Task.isCancelled {
            do {
                let look = try await cluster.look(ClusterEvents.self, at: "\(ClusterEvents.path)?after=\(tail.after)")
                let step = tail.take(look.report)
                if let notice = step.notice { Terminal.standardError.writeLine(notice) }
                if output == .json {
                    // As objects of their own: what follows has no end.
                    for json in Self.events(look.json, numbers: Set(step.events.map(\.number))) { try Terminal.standardOutput.write(json + [0x0A]) }
                } else {
                    for event in step.events { try Terminal.standardOutput.write("\(event.row(on: .standardOutput))\n".utf8) }
                }
                complaint = nil
                if step.isAgain { continue }
            } catch let failure as Failure {
                if tail.through == nil { throw failure }
                if complaint != failure.message { Terminal.standardError.writeLine(failure.message) }
                complaint = failure.message
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private static func events(_ json: String, numbers: Set<Int>) -> [[UInt8]] {
        let elements = RawJSON.members(Array(json.utf8))?["events"].flatMap { RawJSON.elements($0) } ?? []
        return elements.filter { element in
            RawJSON.members(element)?["number"].flatMap { RawJSON.integer($0) }.map { numbers.contains($0) } ?? false
        }
    }
}

/// Which events are new, over controllers that each count their own. Pure.
struct EventTail: Sendable {
    struct Step: Sendable {
        var events: [ClusterEvents.Event]
        var notice: String?
        /// Another one answered: its history has to be asked from its start.
        var isAgain = false
    }

    private(set) var after: Int
    private(set) var through: String?
    private var lastAt = 0
    /// Another one's events, which it may have told in part.
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
            return Step(events: [], notice: "\(report.through) tells from here, \(before) did before; events may be told twice.", isAgain: true)
        }
        let events = self.isCatchingUp ? report.events.filter { $0.at >= self.lastAt } : report.events
        self.isCatchingUp = false
        self.after = report.events.last?.number ?? self.after
        self.lastAt = max(self.lastAt, events.last?.at ?? 0)
        return Step(events: events)
    }
}
