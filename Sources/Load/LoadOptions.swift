import ArgumentParser
import Options

enum Transport: String, CaseIterable, ExpressibleByArgument, Sendable {
    case sse, ws, lp, stream

    /// The path of the transport on a node.
    var path: String {
        switch self {
        case .sse: "/ev/"
        case .ws: "/ws/"
        case .lp: "/lp/"
        case .stream: "/sub/"
        }
    }
}

enum OutputFormat: String, CaseIterable, ExpressibleByArgument, Sendable {
    case table, json
}

/// For an option's `transform`. The error states the allowed values. ``LoadSettings`` checks combinations of options.
enum Numbers {
    static func seconds(from least: Double = 0) -> @Sendable (String) throws -> Double {
        { text in
            guard let number = Double(text), (least...1_000_000).contains(number) else {
                throw ValidationError("allowed is a number of seconds from \(least) to 1000000.")
            }
            return number
        }
    }

    /// 0 means no events. With a rate below the minimum, the pause between two events would be hours.
    static func rate(_ text: String) throws -> Double {
        guard let number = Double(text), number == 0 || (0.001...10_000_000).contains(number) else {
            throw ValidationError("allowed is 0, or a number from 0.001 to 10000000.")
        }
        return number
    }
}

/// The value of `--rate`: events per second, or `max`.
struct RateArgument: Sendable, CustomStringConvertible {
    var rate: LoadPlan.Rate

    init(rate: LoadPlan.Rate) { self.rate = rate }

    init(text: String) throws {
        if text == "max" {
            self.rate = .maximum
        } else if let number = try? Numbers.rate(text) {
            self.rate = number == 0 ? .none : .perSecond(number)
        } else {
            throw ValidationError("allowed is max, 0, or a number from 0.001 to 10000000.")
        }
    }

    var description: String {
        switch self.rate {
        case .none: "0"
        case .perSecond(let rate): "\(Int(rate))"
        case .maximum: "max"
        }
    }
}

/// The options for addresses and the token have the same names as in the other commands.
struct TargetOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The URL of the node's subscriber port. Can be given several times: the subscribers are spread evenly over these nodes. (env: REALERTIME_URL; default: http://127.0.0.1:8080)",
            valueName: "url"))
    var url: [String] = []

    @Option(help: ArgumentHelp("The URL of the node's API port. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    @Option(help: "sse is Server-Sent Events, ws is WebSocket, lp is long-poll, stream is one line of JSON for each event.")
    var transport = Transport.sse

    @Option(
        help: ArgumentHelp(
            "To measure another server: the URL for its subscribers. The load tool replaces {channel} by a channel name, or by several names joined by / (see --channels-per-subscriber). Can be given several times, like --url.",
            valueName: "url"))
    var subscribeUrl: [String] = []

    @Option(
        help: ArgumentHelp(
            "To measure another server: the URL for publishing to it. The load tool replaces {channel} by a channel name.", valueName: "url"))
    var publishUrl: String?

    @Option(
        help: ArgumentHelp(
            "The body of a publish request. The load tool replaces {payload} by the payload, and {channel} by the channel name.", valueName: "body"))
    var publishBody = "{payload}"

    @Option(help: ArgumentHelp("A header for subscribe requests, written as 'Name: value'. Can be given several times.", valueName: "line"))
    var header: [String] = []

    @Option(help: ArgumentHelp("A header for publish requests, written as 'Name: value'. Can be given several times.", valueName: "line"))
    var publishHeader: [String] = []

    @Option(help: ArgumentHelp("The beginning of each channel name. A number follows: <prefix>0, <prefix>1, …", valueName: "prefix"))
    var channelPrefix = "load-"

    /// Adds the values of environment variables. An option takes precedence. The token in the environment is for a node, so it is never sent to another server.
    func filled(from environment: [String: String]) throws(LoadError) -> TargetOptions {
        var options = self
        if self.url.isEmpty { options.url = environment.nonEmpty("REALERTIME_URL").map { [$0] } ?? [] }
        options.api = self.api ?? environment.nonEmpty("REALERTIME_API_URL")
        do {
            options.secret.apiToken = try self.secret.token(from: self.publishUrl == nil ? environment : [:])
        } catch {
            throw .usage(error.description)
        }
        options.secret.apiTokenFile = nil
        return options
    }
}

struct ShapeOptions: ParsableArguments {
    @Option(
        name: [.customShort("n"), .long], parsing: .unconditional,
        help: ArgumentHelp("The number of subscribers. Each subscriber has one connection. (default: 100)", valueName: "n"),
        transform: wholeNumber(0...10_000_000))
    var subscribers = 100

    @Option(
        name: [.customShort("c"), .long], parsing: .unconditional,
        help: ArgumentHelp("The number of channels. The subscribers are spread evenly over the channels. (default: 1)", valueName: "n"),
        transform: wholeNumber(1...1_000_000))
    var channels = 1

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The number of channels that each subscriber subscribes to. (default: 1)", valueName: "n"),
        transform: wholeNumber(1...1_000_000))
    var channelsPerSubscriber = 1

    @Flag(help: "Use only one channel. All publishers publish to this channel, and all subscribers subscribe to it.")
    var hot = false

    @Option(
        name: [.customShort("r"), .long], parsing: .unconditional,
        help:
            "The number of events per second, published by all publishers together. With max, each publisher sends its next event when it gets the response to its previous event. With 0, nothing is published: the subscribers only connect (see --hold). (default: 100)",
        transform: RateArgument.init(text:))
    var rate = RateArgument(rate: .perSecond(100))

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The number of publishers. Each publisher has one connection with one request in flight. Without --hot, each channel has only one publisher. (default: 4)",
            valueName: "n"),
        transform: wholeNumber(1...4096))
    var publishers = 4

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The size of each payload. The minimum is \(PayloadTemplate.bytesMin). (default: 120)", valueName: "bytes"),
        transform: wholeNumber(PayloadTemplate.bytesMin...1_048_576))
    var payloadBytes = 120

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Measure new connections instead of deliveries: this number of subscribers connect, wait for the head of the response, and disconnect. Nothing is published. (default: 0)",
            valueName: "n"),
        transform: wholeNumber(0...1_000_000_000))
    var churn = 0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The maximum number of open connections with --churn. (default: 256)", valueName: "n"),
        transform: wholeNumber(1...1_000_000))
    var churnAtOnce = 256

    @Flag(help: "End each connection with a TCP reset instead of a normal close. Only with --churn.")
    var churnReset = false
}

struct TimeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long to publish before the measurement starts. (default: 1)", valueName: "seconds"),
        transform: Numbers.seconds())
    var warmUp = 1.0

    @Option(
        name: [.customShort("d"), .long], parsing: .unconditional, help: ArgumentHelp("The duration of the measurement. (default: 10)", valueName: "seconds"),
        transform: Numbers.seconds(from: 0.001))
    var duration = 10.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The maximum time to wait for the last deliveries after the measurement. (default: 5)", valueName: "seconds"),
        transform: Numbers.seconds())
    var drain = 5.0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time to wait between the last connect and the first publish. (default: 0.5)", valueName: "seconds"),
        transform: Numbers.seconds())
    var settle = 0.5

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time to keep the connections open with --rate 0. (default: 10)", valueName: "seconds"),
        transform: Numbers.seconds())
    var hold = 10.0
}

struct ResourceOptions: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("The number of new connections per second. 0 is no limit. (default: 0)", valueName: "rate"),
        transform: Numbers.rate)
    var connectRate = 0.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The maximum number of connections that wait for a response to their subscribe request. (default: 256)", valueName: "n"),
        transform: wholeNumber(1...100_000))
    var connectsInFlight = 256

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time limit for one connect or one response. (default: 10)", valueName: "seconds"),
        transform: Numbers.seconds(from: 0.1)
    )
    var timeout = 10.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The number of local addresses (127.0.0.2, 127.0.0.3, …) that connections start from. One address has ports for about 28,000 connections. (default: as many as needed)",
            valueName: "n"),
        transform: wholeNumber(0...60_000))
    var sourceAddresses: Int?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("The number of worker processes. (default: as many as the descriptor limit requires)", valueName: "n"),
        transform: wholeNumber(1...LoadSettings.processesMax))
    var processes: Int?

    @Option(help: ArgumentHelp("The CPUs for the workers, such as 1 or 0,1. Each worker runs on one of these CPUs.", valueName: "cpus"))
    var pin: String?

    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "The id of a server process. The report shows the CPU time and the memory of this process. Can be given several times.", valueName: "pid"),
        transform: wholeNumber(1...4_194_304))
    var pid: [Int] = []

    @Flag(help: "Also measure the child processes of --pid.")
    var pidChildren = false

    @Option(name: [.short, .customLong("output")], help: "table prints a report for people; json prints all metrics as one JSON object.")
    var output = OutputFormat.table

    // Internal: only the coordinator sets these options, when it starts a worker process.
    @Option(help: .hidden) var workerIndex: Int?
    @Option(help: .hidden) var workerRun: UInt32?
}
