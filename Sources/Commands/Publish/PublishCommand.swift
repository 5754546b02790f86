import JSON
import Options
package import ArgumentParser

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

package struct PublishCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish events and print their positions.",
        usage: "realertime publish <channels> ... [<payload>] [<options>]",
        discussion: """
            EXAMPLES:
              realertime publish thread:42 '{"text":"hello"}' --type comment
              realertime publish thread:42/forum:7 hello
              realertime publish thread:42 forum:7 hello
              realertime publish thread:42 < event.json
              tail -f app.log | realertime publish logs -

            With several channels, the same event is published to each channel.

            With - as the payload, each line of standard input is published as an event, in order. Empty lines are skipped. Each event \
            gets its own message id: if a response is lost or the node is busy (503), the command sends the event again until --timeout, \
            and the node does not publish it twice. A line that the node refuses is counted, and the next lines are published; the summary \
            shows the first refused line. After Ctrl-C, the command waits for the events in flight and prints the first line that was not \
            published.

            \(Help.exitStatus)
              With - as the payload, 1 means that the node refused some lines. 2 or 3
              means that the command stopped before the end of the input.
            """)

    @Argument(
        help:
            "One or more channels (separated by spaces or by /), then the payload, which is sent unchanged. If the payload is -, each line of standard input is an event. With only one argument, standard input is the payload."
    )
    var channelsAndPayload: [String]

    @Option(help: "The type of the events. Subscribers get this type with each event.")
    var type: String?

    @Option(help: "The message id of the event. The node does not publish the same id twice. (default: a random id)")
    var id: String?

    @Flag(help: "Send the payload only if it is JSON.")
    var json = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "With - as the payload, the maximum number of events in flight. The events use one connection and stay in order. With an https URL the value is always 1. (default: 16)",
            valueName: "n"),
        transform: wholeNumber(1...1024))
    var concurrency: Int?

    @Option(
        name: [.short, .customLong("output")],
        help: "table prints the position of the event, or only a summary if the payload is -. json prints each response of the node on one line.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The time limit for one event, including all attempts to send it. (default: 30)", valueName: "seconds"),
        transform: Seconds.init(text:))
    var timeout = Seconds(30)

    @OptionGroup var api: APIOptions

    package init() {}

    /// The last argument. Nil if there is only one argument.
    private var payloadArgument: String? { self.channelsAndPayload.count > 1 ? self.channelsAndPayload.last : nil }
    private var channels: [String] { self.channelsAndPayload.prefix(max(1, self.channelsAndPayload.count - 1)).flatMap(Channels.split) }
    private var readsLines: Bool { self.payloadArgument == "-" }

    package func validate() throws {
        if self.readsLines, self.id != nil { throw ValidationError("--id is for one event. Lines of standard input (-) get their own ids: leave out --id.") }
        if !self.readsLines, self.concurrency != nil { throw ValidationError("--concurrency needs many events: use it only with - as the payload.") }
        for (name, value) in [("--type", self.type), ("--id", self.id)] {
            guard let value else { continue }
            guard !value.isEmpty, value.utf8.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
                throw ValidationError("\(name) must be printable ASCII, because it is sent in an HTTP header.")
            }
        }
        try Channels.check(self.channels)
        _ = try self.api.base()
    }

    package func run() async throws {
        try await reporting {
            try await self.api.withClient(timeout: self.timeout.duration) { node in
                let sender = PublishSender(node: node, channels: self.channels, type: self.type)
                let status = self.readsLines ? try await self.publishLines(sender) : try await self.publishOne(sender)
                await sender.close()
                return status
            }
        }
    }

    // MARK: many events

    private func publishLines(_ sender: PublishSender) async throws -> CommandStatus {
        let publisher = LinePublisher(
            sender: sender, concurrency: self.concurrency ?? 16, retryTimeout: self.timeout.duration, wantsJSON: self.json,
            responses: self.output == .json ? .standardOutput : nil, notices: .standardError)
        return try await untilInterrupted { try await publisher.run(StandardInput()) } ?? .ok
    }

    // MARK: one event

    private func publishOne(_ sender: PublishSender) async throws -> CommandStatus {
        let payload = try await self.payload()
        let base = try self.api.base()
        if self.json, !JSONValue.accepts(payload) { throw CommandError(.critical, "The payload is not JSON: correct it, or leave out --json.") }
        var machine = PublishMachine(concurrency: 1, retryTimeout: self.timeout.duration)
        machine.accept([PublishEvent(line: 0, messageID: self.id ?? UUID().uuidString.lowercased(), payload: payload)])
        var backoff = Backoff()
        var progress = PublishProgress(terminal: .standardError)
        while true {
            let sentAt = ContinuousClock.now
            let outcomes = await sender.send(machine.window, within: machine.retryTimeout(at: sentAt))
            switch machine.didFinish(outcomes, sentAt: sentAt, now: .now) {
            case .proceed:
                if let refusal = machine.tally.firstRefusal { throw CommandError(.critical, "Not published: \(refusal.reason).") }
                for case .published(let response, let isDuplicate) in outcomes { try self.show(response, isDuplicate: isDuplicate) }
                return .ok
            case .wait(let hint, let reason):
                progress.note("\(base): \(reason). Retrying until --timeout.")
                try await Task.sleep(for: min(backoff.next(atLeast: hint), machine.retryTimeout(at: .now)))
            case .stop(let failure):
                throw failure
            }
        }
    }

    private func payload() async throws -> [UInt8] {
        if let payloadArgument { return Array(payloadArgument.utf8) }
        let input = StandardInput()
        guard !input.isInteractive else {
            throw CommandError(.critical, "The payload is missing. Give a payload after the channel, or give - and type one event on each line.")
        }
        var payload: [UInt8] = []
        try await input.read { payload += $0 }
        return payload
    }

    private func show(_ response: [UInt8], isDuplicate: Bool) throws {
        let output = Terminal.standardOutput
        if self.output == .json { return try output.write(response.filter { $0 != UInt8(ascii: "\n") } + [UInt8(ascii: "\n")]) }
        let json = sanitizedJSON(response)
        let objects = (json?.elements ?? json.map { [$0] } ?? []).compactMap(\.fields)
        for object in objects {
            var object = object
            let position = object.text("id") ?? "?"
            let channel = object.text("channel") ?? "?"
            try output.write((objects.count == 1 ? "\(position)\n" : "\(channel) \(position)\n").utf8)
        }
        if isDuplicate {
            Terminal.standardError.printSentence("An event with this message id was published before. The printed position is the position of that event.")
        }
    }
}
