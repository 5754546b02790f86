import ArgumentParser

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

/// For an option's `transform`, which says what is allowed. What goes with what is for `LoadSettings` to check.
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

    /// None is 0. One that is smaller than the least would be a pause of years.
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

/// Addresses and the token have the names that they have in the other commands.
struct TargetOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The subscriber port of the node. (env: REALERTIME_URL; default: http://127.0.0.1:8080)", valueName: "url"))
    var url: String?

    @Option(help: ArgumentHelp("The API port of the node. (env: REALERTIME_API_URL; default: http://127.0.0.1:8081)", valueName: "url"))
    var api: String?

    @Option(
        help: ArgumentHelp(
            "What the node has as its api-token. As a flag other users of this machine can see it. (env: REALERTIME_API_TOKEN)", valueName: "token"))
    var apiToken: String?

    @Option(help: ArgumentHelp("A file whose first line is that token. (env: REALERTIME_API_TOKEN_FILE)", valueName: "file"))
    var apiTokenFile: String?

    @Option(help: "Server-Sent Events, WebSocket, long-poll or a line of JSON an event.")
    var transport = Transport.sse

    @Option(help: ArgumentHelp("Another server's URL to subscribe, with {channel}, or {channels} for several joined by '/'.", valueName: "url"))
    var subscribeUrl: String?

    @Option(help: ArgumentHelp("Another server's URL to publish, with {channel}, unless the body has it.", valueName: "url"))
    var publishUrl: String?

    @Option(help: ArgumentHelp("The body to publish, with {payload} and perhaps {channel}.", valueName: "body"))
    var publishBody = "{payload}"

    @Option(help: ArgumentHelp("A header line of subscribe requests, 'Name: value'. Repeatable.", valueName: "line"))
    var header: [String] = []

    @Option(help: ArgumentHelp("A header line of publish requests. Repeatable.", valueName: "line"))
    var publishHeader: [String] = []

    @Option(help: ArgumentHelp("Channels are named <prefix>0, <prefix>1, …", valueName: "prefix"))
    var channelPrefix = "load-"

    /// A flag wins over the environment. The token in the environment is the node's: no other server is told it.
    func filled(from environment: [String: String]) throws(LoadError) -> TargetOptions {
        func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        var options = self
        options.url = self.url ?? given("REALERTIME_URL")
        options.api = self.api ?? given("REALERTIME_API_URL")
        guard self.apiToken == nil || self.apiTokenFile == nil else { throw .usage("--api-token and --api-token-file say the same thing: give one") }
        if let token = self.apiToken {
            options.apiToken = try Self.checked(token, "--api-token")
        } else if let file = self.apiTokenFile {
            options.apiToken = try Self.token(in: file, "--api-token-file")
        } else if self.publishUrl == nil {
            options.apiToken = try given("REALERTIME_API_TOKEN").map { token throws(LoadError) in try Self.checked(token, "REALERTIME_API_TOKEN") }
            if let file = given("REALERTIME_API_TOKEN_FILE") {
                guard options.apiToken == nil else {
                    throw .usage("REALERTIME_API_TOKEN and REALERTIME_API_TOKEN_FILE are both set: keep one, or give a flag")
                }
                options.apiToken = try Self.token(in: file, "REALERTIME_API_TOKEN_FILE")
            }
        }
        options.apiTokenFile = nil
        return options
    }

    /// The first line without its end, and with its spaces.
    private static func token(in path: String, _ option: String) throws(LoadError) -> String {
        guard let bytes = TextFile.bytes(path) else { throw .usage("\(option) \(path) cannot be read: check the path and who may read it") }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .usage("\(option) \(path) is not UTF-8 text") }
        return try self.checked(String(text.prefix { $0 != "\n" && $0 != "\r\n" }), option)
    }

    /// As the other commands check it.
    private static func checked(_ token: String, _ option: String) throws(LoadError) -> String {
        guard !token.isEmpty else { throw .usage("\(option) holds no token: it is empty") }
        guard !token.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }), !token.hasPrefix(" "), !token.hasSuffix(" ") else {
            throw .usage("\(option) has a space at its beginning or end, or a control character, which no HTTP header can carry")
        }
        return token
    }
}

struct ShapeOptions: ParsableArguments {
    @Option(
        name: [.customShort("n"), .long], parsing: .unconditional, help: ArgumentHelp("Connections that subscribe.", valueName: "n"),
        transform: Numbers.whole(0...10_000_000))
    var subscribers = 100

    @Option(
        name: [.customShort("c"), .long], parsing: .unconditional, help: ArgumentHelp("Channels; subscriber i takes channel i mod this.", valueName: "n"),
        transform: Numbers.whole(1...1_000_000))
    var channels = 1

    @Option(parsing: .unconditional, help: ArgumentHelp("Channels that one connection takes.", valueName: "n"), transform: Numbers.whole(1...1_000_000))
    var channelsPerSubscriber = 1

    @Flag(help: "Everything on one channel, published by all publishers at once.")
    var hot = false

    @Option(
        name: [.customShort("r"), .long], parsing: .unconditional,
        help: "Events a second in total. 'max': each publisher sends when it is answered. 0: connect and hold.", transform: RateArgument.init(text:))
    var rate = RateArgument(rate: .perSecond(100))

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Publishing keep-alive connections, one request in flight each. A channel has one of them, unless it is hot.", valueName: "n"),
        transform: Numbers.whole(1...4096))
    var publishers = 4

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Size of a payload; at least \(PayloadTemplate.bytesMin).", valueName: "bytes"),
        transform: Numbers.whole(PayloadTemplate.bytesMin...1_048_576))
    var payloadBytes = 120

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Instead: connect, wait for the answer's head and disconnect, so often in total.", valueName: "n"),
        transform: Numbers.whole(0...1_000_000_000))
    var churn = 0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("At most so many connections open at a time while churning.", valueName: "n"),
        transform: Numbers.whole(1...1_000_000))
    var churnAtOnce = 256

    @Flag(help: "Churning connections end by a reset, as a lost client's do, not in order.")
    var churnReset = false
}

struct TimeOptions: ParsableArguments {
    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long it publishes before the measured window.", valueName: "seconds"), transform: Numbers.seconds())
    var warmUp = 1.0

    @Option(
        name: [.customShort("d"), .long], parsing: .unconditional, help: ArgumentHelp("How long the measured window is.", valueName: "seconds"),
        transform: Numbers.seconds(from: 0.001))
    var duration = 10.0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long it waits for the last deliveries, at most.", valueName: "seconds"), transform: Numbers.seconds())
    var drain = 5.0

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long it waits between the last connect and the first publish.", valueName: "seconds"),
        transform: Numbers.seconds())
    var settle = 0.5

    @Option(parsing: .unconditional, help: ArgumentHelp("How long it holds the connections at rate 0.", valueName: "seconds"), transform: Numbers.seconds())
    var hold = 10.0
}

struct ResourceOptions: ParsableArguments {
    @Option(parsing: .unconditional, help: ArgumentHelp("Connects a second; 0 for as fast as the server answers.", valueName: "rate"), transform: Numbers.rate)
    var connectRate = 0.0

    @Option(parsing: .unconditional, help: ArgumentHelp("Connects in flight, at most.", valueName: "n"), transform: Numbers.whole(1...100_000))
    var connectsInFlight = 256

    @Option(
        parsing: .unconditional, help: ArgumentHelp("How long one connect or one answer may take.", valueName: "seconds"), transform: Numbers.seconds(from: 0.1)
    )
    var timeout = 10.0

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Local addresses 127.0.0.2… to connect from: one has about 28,000 ports. As many as needed if not given.", valueName: "n"),
        transform: Numbers.whole(0...60_000))
    var sourceAddresses: Int?

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Worker processes. As many as descriptors need if not given.", valueName: "n"),
        transform: Numbers.whole(1...LoadSettings.processesMax))
    var processes: Int?

    @Option(help: ArgumentHelp("CPUs to run on, '1' or '0,1': worker i takes the i-th of them.", valueName: "cpus"))
    var pin: String?

    @Option(
        parsing: .unconditionalSingleValue, help: ArgumentHelp("A process of the server to measure. Repeatable.", valueName: "pid"),
        transform: Numbers.whole(1...4_194_304))
    var pid: [Int] = []

    @Flag(help: "Measure the children of these processes too.")
    var pidChildren = false

    @Option(name: [.short, .customLong("output")], help: "json prints every figure, as one object.")
    var output = OutputFormat.table

    // How a worker process is told what it is. Not for people.
    @Option(help: .hidden) var workerIndex: Int?
    @Option(help: .hidden) var workerRun: UInt32?
}
