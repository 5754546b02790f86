import ArgumentParser
import Options

enum Transport: String, CaseIterable, ExpressibleByArgument, Sendable {
    case sse, ws, lp, stream

    /// The path of the transport on our own server.
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

/// For an option's `transform`. The error says what is allowed. `LoadSettings` checks combinations.
enum Numbers {
    static func whole(_ range: ClosedRange<Int>) -> @Sendable (String) throws -> Int {
        { text in
            guard let number = Int(text), range.contains(number) else {
                throw ValidationError("allowed is a whole number, from \(range.lowerBound) to \(range.upperBound).")
            }
            return number
        }
    }

    static func seconds(from least: Double = 0) -> @Sendable (String) throws -> Double {
        { text in
            guard let number = Double(text), (least...1_000_000).contains(number) else {
                throw ValidationError("allowed is a number of seconds from \(least) to 1000000.")
            }
            return number
        }
    }

    /// 0 means none. A smaller rate than the minimum would mean a pause of years.
    static func rate(_ text: String) throws -> Double {
        guard let number = Double(text), number == 0 || (0.001...10_000_000).contains(number) else {
            throw ValidationError("allowed is 0, or a number from 0.001 to 10000000.")
        }
        return number
    }
}

/// Events a second, or `max`.
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

/// Addresses and the token have the same names as in the other commands.
struct TargetOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The subscriber port of the node. (env: REALERTIME_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(help: ArgumentHelp("The API port of the node. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @OptionGroup var secret: TokenOptions

    @Option(help: "Server-Sent Events, WebSocket, long-poll or a line of JSON an event.")
    var transport = Transport.sse

    @Option(help: ArgumentHelp("Another server's URL to subscribe, with {channel}, or {channels} for several joined by '/'.", valueName: "url"))
    var subscribeUrl: String?

    @Option(help: ArgumentHelp("Another server's URL to publish, with {channel}, unless the body contains it.", valueName: "url"))
    var publishUrl: String?

    @Option(help: ArgumentHelp("The body to publish, with {payload} and optionally {channel}.", valueName: "body"))
    var publishBody = "{payload}"

    @Option(help: ArgumentHelp("A header line of subscribe requests, 'Name: value'. Repeatable.", valueName: "line"))
    var header: [String] = []

    @Option(help: ArgumentHelp("A header line of publish requests. Repeatable.", valueName: "line"))
    var publishHeader: [String] = []

    @Option(help: ArgumentHelp("Channels are named <prefix>0, <prefix>1, …", valueName: "prefix"))
    var channelPrefix = "load-"

    /// A flag takes precedence over the environment. The token in the environment is the node's: it is never sent to another server.
    func filled(from environment: [String: String]) throws(LoadError) -> TargetOptions {
        func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        var options = self
        options.url = self.url ?? given("REALERTIME_URL")
        options.api = self.api ?? given("REALERTIME_API_URL")
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
        name: [.customShort("n"), .long], parsing: .unconditional, help: ArgumentHelp("Connections that subscribe.", valueName: "n"),
        transform: Numbers.whole(0...10_000_000))
    var subscribers = 100

    @Option(
        name: [.customShort("c"), .long], parsing: .unconditional,
        help: ArgumentHelp("Channels. Subscriber i subscribes to channel i mod this number.", valueName: "n"),
        transform: Numbers.whole(1...1_000_000))
    var channels = 1

    @Option(parsing: .unconditional, help: ArgumentHelp("Channels that one connection subscribes to.", valueName: "n"), transform: Numbers.whole(1...1_000_000))
    var channelsPerSubscriber = 1

    @Flag(help: "Everything on one channel, published by all publishers.")
    var hot = false

    @Option(
        name: [.customShort("r"), .long], parsing: .unconditional,
        help: "Events a second in total. 'max': each publisher sends as soon as it gets a response. 0: connect and hold.", transform: RateArgument.init(text:))
    var rate = RateArgument(rate: .perSecond(100))

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Keep-alive connections that publish, each with one request in flight. One publishes each channel, unless it is hot.", valueName: "n"),
        transform: Numbers.whole(1...4096))
    var publishers = 4

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Size of a payload, at least \(PayloadTemplate.bytesMin).", valueName: "bytes"),
        transform: Numbers.whole(PayloadTemplate.bytesMin...1_048_576))
    var payloadBytes = 120

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Instead of delivering events: connect, wait for the response head, disconnect; this many times in total.", valueName: "n"),
        transform: Numbers.whole(0...1_000_000_000))
    var churn = 0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The most connections open at a time with --churn.", valueName: "n"),
        transform: Numbers.whole(1...1_000_000))
    var churnAtOnce = 256

    @Flag(help: "With --churn, end connections by a reset, as lost clients do, not by a normal close.")
    var churnReset = false
}

struct TimeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long to publish before the measured window.", valueName: "seconds"), transform: Numbers.seconds())
    var warmUp = 1.0

    @Option(
        name: [.customShort("d"), .long], parsing: .unconditional, help: ArgumentHelp("Length of the measured window.", valueName: "seconds"),
        transform: Numbers.seconds(from: 0.001))
    var duration = 10.0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long to wait for the last deliveries, at most.", valueName: "seconds"), transform: Numbers.seconds())
    var drain = 5.0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long to wait between the last connect and the first publish.", valueName: "seconds"),
        transform: Numbers.seconds())
    var settle = 0.5

    @Option(parsing: .unconditional, help: ArgumentHelp("How long to hold the connections at rate 0.", valueName: "seconds"), transform: Numbers.seconds())
    var hold = 10.0
}

struct ResourceOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: ArgumentHelp("Connects a second. 0: as fast as the server responds.", valueName: "rate"), transform: Numbers.rate)
    var connectRate = 0.0

    @Option(parsing: .unconditional, help: ArgumentHelp("The most connects in flight.", valueName: "n"), transform: Numbers.whole(1...100_000))
    var connectsInFlight = 256

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long one connect or one response may take.", valueName: "seconds"),
        transform: Numbers.seconds(from: 0.1)
    )
    var timeout = 10.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Local addresses 127.0.0.2… to connect from. Each has about 28,000 ports. Default: as many as needed.", valueName: "n"),
        transform: Numbers.whole(0...60_000))
    var sourceAddresses: Int?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Worker processes. Default: as many as the descriptor limit requires.", valueName: "n"),
        transform: Numbers.whole(1...LoadSettings.processesMax))
    var processes: Int?

    @Option(help: ArgumentHelp("CPUs to run on, '1' or '0,1'. Worker i runs on the i-th of them.", valueName: "cpus"))
    var pin: String?

    @Option(
        parsing: .unconditionalSingleValue, help: ArgumentHelp("A process of the server to measure. Repeatable.", valueName: "pid"),
        transform: Numbers.whole(1...4_194_304))
    var pid: [Int] = []

    @Flag(help: "Measure the children of these processes too.")
    var pidChildren = false

    @Option(name: [.short, .customLong("output")], help: "json prints all metrics as one object.")
    var output = OutputFormat.table

    // Internal: tells a worker process its role.
    @Option(help: .hidden) var workerIndex: Int?
    @Option(help: .hidden) var workerRun: UInt32?
}
