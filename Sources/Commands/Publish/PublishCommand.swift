import JSON
package import ArgumentParser

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

package struct PublishCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish events, and print their positions.",
        usage: "realertime publish <channels> ... [<data>] [<options>]",
        discussion: """
            EXAMPLES:
              realertime publish thread:42 '{"text":"hello"}' --type comment
              realertime publish thread:42/forum:7 hello
              realertime publish thread:42 forum:7 hello
              realertime publish thread:42 < event.json
              tail -f app.log | realertime publish logs -

            With - every line of standard input is an event, published in order as it comes; empty lines are none. Each has a message id \
            of its own, so that it can be tried again without being published twice: a 503 or a lost answer is, until --timeout. A line \
            that can never be published is counted, and the others go on; the summary names the first. Ctrl-C lets what is on its way \
            arrive, and says which line is the first that was not published.

            \(Help.exitStatus)
              With -: 1 when some lines could not be published, 2 or 3 when it had to stop.
            """)

    @Argument(
        help:
            "The channel, or several as words or with / between them; then the payload, as it is. With - as the payload every line of standard input is an event; with one word standard input is the payload."
    )
    var words: [String]

    @Option(help: "The type of the events.")
    var type: String?

    @Option(help: "The message id: publishing it again changes nothing. (default: a random one)")
    var id: String?

    @Flag(help: "Refuse what is not JSON before it is sent.")
    var json = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "With -: how many events are on their way together, in one connection and in order; over https one at a time. (default: 16)", valueName: "n"),
        transform: whole(1...1024))
    var concurrency: Int?

    @Option(name: [.short, .customLong("output")], help: "table prints positions; json prints the node's answers, with - one a line.")
    var output = OutputFormat.table

    @Option(parsing: .unconditional, help: ArgumentHelp("How long one event is tried. (default: 30)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(30)

    @OptionGroup var api: APIOptions

    package init() {}

    /// The last of several words.
    private var data: String? { self.words.count > 1 ? self.words.last : nil }
    private var channels: [String] { (self.words.count > 1 ? self.words.dropLast() : self.words[...]).flatMap(Channels.split) }
    private var readsLines: Bool { self.data == "-" }

    package func validate() throws {
        if self.readsLines, self.id != nil { throw ValidationError("--id is for one event: with - every line has an id of its own.") }
        if !self.readsLines, self.concurrency != nil { throw ValidationError("--concurrency is for many events: use it with -.") }
        for (name, value) in [("--type", self.type), ("--id", self.id)] {
            guard let value else { continue }
            guard !value.isEmpty, value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
                throw ValidationError("\(name) must be printable ASCII, as it travels in a header.")
            }
        }
        try Channels.check(self.channels)
        _ = try self.api.base()
    }

    package func run() async throws {
        try await reporting {
            let (base, token) = (try self.api.base(), try self.api.secret.token())
            return try await withHTTPClient(connect: NodeClient.connectTimeout(within: self.timeout.duration)) { http in
                let node = NodeClient(base: base, token: token, http: http, timeout: self.timeout.duration)
                let sender = PublishSender(node: node, channels: self.channels, type: self.type)
                let status = self.readsLines ? try await self.publishLines(sender) : try await self.publishOne(sender)
                await sender.close()
                return status
            }
        }
    }

    // MARK: many

    private func publishLines(_ sender: PublishSender) async throws -> CommandStatus {
        let publisher = LinePublisher(
            sender: sender, concurrency: self.concurrency ?? 16, patience: self.timeout.duration, wantsJSON: self.json,
            answers: self.output == .json ? .standardOutput : nil, notices: .standardError)
        return try await untilInterrupted { try await publisher.run(StandardInput()) } ?? .ok
    }

    // MARK: one

    private func publishOne(_ sender: PublishSender) async throws -> CommandStatus {
        let payload = try await self.payload()
        let base = try self.api.base()
        if self.json, !JSONValue.accepts(payload) { throw Failure(.critical, "The payload is not JSON: correct it, or leave out --json.") }
        var machine = PublishMachine(concurrency: 1, patience: self.timeout.duration)
        machine.accept([PublishEvent(line: 0, messageID: self.id ?? UUID().uuidString.lowercased(), payload: payload)])
        var backoff = Backoff()
        var progress = PublishProgress(terminal: .standardError)
        while true {
            let sentAt = ContinuousClock.now
            let outcomes = await sender.send(machine.window, within: machine.patience(at: sentAt))
            switch machine.didFinish(outcomes, sentAt: sentAt, now: .now) {
            case .proceed:
                if let refusal = machine.tally.firstRefusal { throw Failure(.critical, "Not published: \(refusal.reason).") }
                for case .published(let answer, let isDuplicate) in outcomes { try self.show(answer, isDuplicate: isDuplicate) }
                return .ok
            case .wait(let hint, let reason):
                progress.note("\(base): \(reason); trying again until --timeout")
                try await Task.sleep(for: min(backoff.next(atLeast: hint), machine.patience(at: .now)))
            case .stop(let failure):
                throw failure
            }
        }
    }

    private func payload() async throws -> [UInt8] {
        if let data { return Array(data.utf8) }
        let input = StandardInput()
        guard !input.isInteractive else { throw Failure(.critical, "There is nothing to publish: give the payload after the channel, or - to type events.") }
        var payload: [UInt8] = []
        try await input.read { payload += $0 }
        return payload
    }

    private func show(_ answer: [UInt8], isDuplicate: Bool) throws {
        let output = Terminal.standardOutput
        if self.output == .json { return try output.write(answer.filter { $0 != UInt8(ascii: "\n") } + [UInt8(ascii: "\n")]) }
        let json = harmlessJSON(answer)
        let replies = (json?.elements ?? json.map { [$0] } ?? []).compactMap(\.fields)
        for reply in replies {
            var reply = reply
            let position = reply.text("id") ?? "?"
            let channel = reply.text("channel") ?? "?"
            try output.write((replies.count == 1 ? "\(position)\n" : "\(channel) \(position)\n").utf8)
        }
        if isDuplicate { Terminal.standardError.say("Published before with this message id: this is the position it has.") }
    }
}
