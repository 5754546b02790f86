package import ArgumentParser

package struct SubscribeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "subscribe",
        abstract: "Print the events of channels as they come.",
        usage: "realertime subscribe <channels> ... [<options>]",
        discussion: """
            EXAMPLES:
              realertime subscribe thread:42
              realertime subscribe thread:42 forum:7 --backlog 10 -o json
              realertime subscribe thread:42/forum:7
              realertime subscribe jobs --cursor-file jobs.cursor | ./worker

            A connection that ends is made again, from the last cursor: nothing is lost or repeated, or the gap is told, on standard \
            error, or as an object among the others with -o json. Ctrl-C ends it with exit status 0. The cursor file is at most 0.2 s \
            behind what was printed: after kill -9 the next run may repeat that much.

            \(Help.exitStatus)
              With --timeout: 1 when fewer than --max events came,
              3 when there never was a connection.
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable, Sendable {
        case lines
        case json
    }

    @Argument(help: "The channels, as arguments of their own or with / between them.")
    var channels: [String]

    @Option(help: ArgumentHelp("Start after this cursor or, with one channel, this position.", valueName: "cursor"))
    var since: String?

    @Option(help: "Server-Sent Events, WebSocket, long-poll or a line of JSON an event.")
    var transport = Transport.sse

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Events of history that come first, where there is no cursor.", valueName: "n"),
        transform: whole(1 ... .max))
    var backlog: Int?

    @Option(help: ArgumentHelp("The subscriber port of the node. (env: REALERTIME_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(
        name: [.short, .customLong("output")],
        help: "lines prints payloads (a JSON string without its quotes); json prints envelopes as they came.")
    var output = Format.lines

    @Flag(name: [.short, .long], help: "With lines: channel, type and cursor before each payload, with tabs between them.")
    var verbose = false

    @Option(parsing: .unconditional, help: ArgumentHelp("End after this many events.", valueName: "n"), transform: whole(1 ... .max))
    var max: Int?

    @Option(
        help: ArgumentHelp(
            "Start after the cursor in this file, if it is there, and keep it up to date. A file that is there and empty is refused.", valueName: "file"))
    var cursorFile: String?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("End after this long, whatever has come. (default: never)", valueName: "seconds"),
        transform: Seconds.init(text:))
    var timeout: Seconds?

    package init() {}

    package func validate() throws {
        try Channels.check(self.names)
        if self.cursorFile?.isEmpty ?? false { throw ValidationError("--cursor-file is empty: give a path.") }
        if self.since != nil, self.cursorFile != nil { throw ValidationError("--since and --cursor-file both say where to start: give one.") }
        if self.verbose, self.output == .json { throw ValidationError("--verbose is for -o lines: json shows everything.") }
        _ = try self.base()
    }

    private var names: [String] { self.channels.flatMap(Channels.split) }

    private func base() throws -> BaseURL {
        try BaseURL(named: "--url", given("--url", self.url, "REALERTIME_URL") ?? "http://127.0.0.1:8080")
    }

    package func run() async throws {
        try await reporting {
            let base = try self.base()
            let file = self.cursorFile.map { CursorFile(path: $0) }
            let cursor = try self.since ?? file?.load()
            return try await withHTTPClient(idle: Subscription.silenceMax) { http in
                let subscriber = Subscriber(
                    subscription: Subscription(
                        base: base, channels: self.names, transport: self.transport, http: http, backlog: self.backlog),
                    since: cursor,
                    printer: DeliveryPrinter(
                        format: self.output == .json ? .json : .lines(details: self.verbose), output: .standardOutput, notices: .standardError),
                    cursorFile: file, eventsMax: self.max)
                return try await self.follow(subscriber)
            }
        }
    }

    private func follow(_ subscriber: Subscriber) async throws -> CommandStatus {
        let timeout = self.timeout
        do {
            let ended: Void? = try await untilInterrupted(orClosed: .standardOutput) {
                guard let timeout else { return try await subscriber.run() }
                try await withTimeout(timeout.duration) { try await subscriber.run() }
            }
            _ = ended
            return .ok
        } catch is CancellationError {
            return .ok
        } catch is TimedOut {
            guard await subscriber.wasConnected else {
                throw Failure(.unreachable, "There never was a connection. Is the node running, and is --url its subscriber port?")
            }
            let events = await subscriber.events
            guard let max, events < max else { return .ok }
            throw Failure(.degraded, "Only \(events) of \(max) events came in time.")
        }
    }
}
