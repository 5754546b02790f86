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

/// Events a second, or `max`.
struct RateArgument: ExpressibleByArgument, Sendable {
    var rate: LoadPlan.Rate

    init(rate: LoadPlan.Rate) { self.rate = rate }

    init?(argument: String) {
        if argument == "max" {
            self.rate = .maximum
        } else if let number = Double(argument), number >= 0, number <= 10_000_000 {
            self.rate = number == 0 ? .none : .perSecond(number)
        } else {
            return nil
        }
    }

    var defaultValueDescription: String {
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
    func filled(from environment: [String: String]) -> TargetOptions {
        func given(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        var options = self
        options.url = self.url ?? given("REALERTIME_URL")
        options.api = self.api ?? given("REALERTIME_API_URL")
        options.apiToken = self.apiToken ?? (self.publishUrl == nil ? given("REALERTIME_API_TOKEN") : nil)
        return options
    }
}

struct ShapeOptions: ParsableArguments {
    @Option(name: [.customShort("n"), .long], help: ArgumentHelp("Connections that subscribe.", valueName: "n"))
    var subscribers = 100

    @Option(name: [.customShort("c"), .long], help: ArgumentHelp("Channels; subscriber i takes channel i mod this.", valueName: "n"))
    var channels = 1

    @Option(help: ArgumentHelp("Channels that one connection takes.", valueName: "n"))
    var channelsPerSubscriber = 1

    @Flag(help: "Everything on one channel, published by all publishers at once.")
    var hot = false

    @Option(name: [.customShort("r"), .long], help: "Events a second in total. 'max': each publisher sends when it is answered. 0: connect and hold.")
    var rate = RateArgument(rate: .perSecond(100))

    @Option(help: ArgumentHelp("Publishing keep-alive connections, one request in flight each. A channel has one of them, unless it is hot.", valueName: "n"))
    var publishers = 4

    @Option(help: ArgumentHelp("Size of a payload; at least \(PayloadTemplate.bytesMin).", valueName: "bytes"))
    var payloadBytes = 120

    @Option(help: ArgumentHelp("Instead: connect, wait for the answer's head and disconnect, so often in total.", valueName: "n"))
    var churn = 0

    @Option(help: ArgumentHelp("At most so many connections open at a time while churning.", valueName: "n"))
    var churnAtOnce = 256

    @Flag(help: "Churning connections end by a reset, as a lost client's do, not in order.")
    var churnReset = false
}

struct TimeOptions: ParsableArguments {
    @Option(help: ArgumentHelp("How long it publishes before the measured window.", valueName: "seconds"))
    var warmUp = 1.0

    @Option(name: [.customShort("d"), .long], help: ArgumentHelp("How long the measured window is.", valueName: "seconds"))
    var duration = 10.0

    @Option(help: ArgumentHelp("How long it waits for the last deliveries, at most.", valueName: "seconds"))
    var drain = 5.0

    @Option(help: ArgumentHelp("How long it waits between the last connect and the first publish.", valueName: "seconds"))
    var settle = 0.5

    @Option(help: ArgumentHelp("How long it holds the connections at rate 0.", valueName: "seconds"))
    var hold = 10.0
}

struct ResourceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Connects a second; 0 for as fast as the server answers.", valueName: "rate"))
    var connectRate = 0.0

    @Option(help: ArgumentHelp("Connects in flight, at most.", valueName: "n"))
    var connectsInFlight = 256

    @Option(help: ArgumentHelp("How long one connect or one answer may take.", valueName: "seconds"))
    var timeout = 10.0

    @Option(help: ArgumentHelp("Local addresses 127.0.0.2… to connect from: one has about 28,000 ports. As many as needed if not given.", valueName: "n"))
    var sourceAddresses: Int?

    @Option(help: ArgumentHelp("Worker processes. As many as descriptors need if not given.", valueName: "n"))
    var processes: Int?

    @Option(help: ArgumentHelp("CPUs to run on, '1' or '0,1': worker i takes the i-th of them.", valueName: "cpus"))
    var pin: String?

    @Option(help: "A process of the server to measure. Repeatable.")
    var pid: [Int32] = []

    @Flag(help: "Measure the children of these processes too.")
    var pidChildren = false

    @Option(name: [.short, .customLong("output")], help: "json prints every figure, as one object.")
    var output = OutputFormat.table

    // How a worker process is told what it is. Not for people.
    @Option(help: .hidden) var workerIndex: Int?
    @Option(help: .hidden) var workerRun: UInt32?
}
