import Options
package import ArgumentParser
import SubscriberAPI

package struct SubscribeCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "subscribe",
        abstract: "Print the events of one or more channels when they arrive.",
        usage: "realertime subscribe <channels> ... [<options>]",
        discussion: """
            EXAMPLES:
              realertime subscribe thread:42
              realertime subscribe thread:42 forum:7 --backlog 10 -o json
              realertime subscribe thread:42/forum:7
              realertime subscribe jobs --cursor-file jobs.cursor | ./worker

            If the connection ends, the command reconnects and resumes after the last event, so no event is lost or repeated. If the node \
            no longer has the next events, the command reports the gap on standard error, or with -o json as an object on standard output. \
            Ctrl-C ends the command with exit status 0. The cursor file is at most 0.2 s older than the last printed event: after kill -9, \
            the next run may print the events of the last 0.2 s again.

            EXIT STATUS:
              0 success
              1 fewer than --max events arrived before --timeout
              2 the node refused the subscription, or the cursor file cannot be used
              3 the node cannot be reached
              64 wrong usage
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable, Sendable {
        case lines
        case json
    }

    @Argument(help: "The names of the channels, separated by spaces or by /.")
    var channels: [String]

    @Option(help: ArgumentHelp("Start after this cursor. With one channel, the position of an event can be given instead.", valueName: "cursor"))
    var since: String?

    @Option(help: "sse is Server-Sent Events, ws is WebSocket, lp is long-poll, stream is one line of JSON for each event.")
    var transport = Transport.sse

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("If there is no cursor, start with this number of past events of each channel. (default: none)", valueName: "n"),
        transform: wholeNumber(1 ... .max))
    var backlog: Int?

    @Option(help: ArgumentHelp("The URL of the node's subscriber port. (env: REALERTIME_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(
        name: [.short, .customLong("output")],
        help: "lines prints each payload on one line (if it is a JSON string, without the quotes); json prints the whole event unchanged, with its metadata.")
    var output = Format.lines

    @Flag(name: [.short, .long], help: "Print the channel, the type and the cursor before each payload, separated by tabs. Only with -o lines.")
    var verbose = false

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Exit after this number of events. (default: no limit)", valueName: "n"), transform: wholeNumber(1 ... .max)
    )
    var max: Int?

    @Option(
        help: ArgumentHelp(
            "Start after the cursor in this file, and keep the file up to date. If the file does not exist, start with new events and create it. An empty file is an error.",
            valueName: "file"))
    var cursorFile: String?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Exit after this time. (default: no limit)", valueName: "seconds"),
        transform: Seconds.init(text:))
    var timeout: Seconds?

    package init() {}

    package func validate() throws {
        try Channels.check(self.names)
        if self.cursorFile?.isEmpty ?? false { throw ValidationError("--cursor-file is empty: give a path.") }
        if self.since != nil, self.cursorFile != nil { throw ValidationError("--since and --cursor-file both set the start: give only one.") }
        if self.verbose, self.output == .json { throw ValidationError("--verbose is only for -o lines. -o json always prints all fields.") }
        _ = try self.base()
    }

    private var names: [String] { self.channels.flatMap(Channels.split) }

    private func base() throws -> BaseURL {
        try BaseURL(named: "--url", optionOrVariable("--url", self.url, "REALERTIME_URL") ?? "http://127.0.0.1:8080")
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
        } catch is TimeoutError {
            guard await subscriber.wasConnected else {
                throw CommandError(.unreachable, "The node did not accept a connection in time. Is the node running, and is --url the node's subscriber port?")
            }
            let events = await subscriber.events
            guard let max, events < max else { return .ok }
            throw CommandError(.degraded, "Only \(events) of \(Readable.count(max, "event")) arrived in time.")
        }
    }
}
