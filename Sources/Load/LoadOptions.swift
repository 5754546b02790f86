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

struct TargetOptions: ParsableArguments {
    @Option(help: "Where subscribers connect.")
    var subscriberUrl = "http://127.0.0.1:8080"

    @Option(help: "Where publishers connect.")
    var api = "http://127.0.0.1:8081"

    @Option(help: "sse, ws, lp (long-poll) or stream (a line of JSON an event).")
    var transport = Transport.sse

    @Option(help: "Another server's URL to subscribe, with {channel}, or {channels} for several joined by '/'.")
    var subscribeUrl: String?

    @Option(help: "Another server's URL to publish, with {channel}, unless the body has it.")
    var publishUrl: String?

    @Option(help: "The body to publish, with {payload} and perhaps {channel}.")
    var publishBody = "{payload}"

    @Option(help: "A header line of subscribe requests, 'Name: value'. Repeatable.")
    var header: [String] = []

    @Option(help: "A header line of publish requests. Repeatable.")
    var publishHeader: [String] = []

    @Option(help: "A bearer token for publish requests.")
    var token: String?

    @Option(help: "Channels are named <prefix>0, <prefix>1, …")
    var channelPrefix = "load-"
}

struct ShapeOptions: ParsableArguments {
    @Option(name: [.customShort("n"), .long], help: "Connections that subscribe.")
    var subscribers = 100

    @Option(name: [.customShort("c"), .long], help: "Channels; subscriber i takes channel i mod this.")
    var channels = 1

    @Option(help: "Channels that one connection takes.")
    var channelsPerSubscriber = 1

    @Flag(help: "Everything on one channel, published by all publishers at once.")
    var hot = false

    @Option(name: [.customShort("r"), .long], help: "Events a second in total. 'max': each publisher sends when it is answered. 0: connect and hold.")
    var rate = RateArgument(rate: .perSecond(100))

    @Option(help: "Publishing keep-alive connections, one request in flight each. A channel has one of them, unless it is hot.")
    var publishers = 4

    @Option(help: "Size of a payload; at least \(PayloadTemplate.bytesMin).")
    var payloadBytes = 120

    @Option(help: "Instead: connect, wait for the answer's head and disconnect, so often in total.")
    var churn = 0

    @Option(help: "At most so many connections open at a time while churning.")
    var churnAtOnce = 256

    @Flag(help: "Churning connections end by a reset, as a lost client's do, not in order.")
    var churnReset = false
}

struct TimeOptions: ParsableArguments {
    @Option(help: "Seconds to publish before the measured window.")
    var warmUp = 1.0

    @Option(name: [.customShort("d"), .long], help: "Seconds of the measured window.")
    var duration = 10.0

    @Option(help: "Seconds to wait for the last deliveries, at most.")
    var drain = 5.0

    @Option(help: "Seconds between the last connect and the first publish.")
    var settle = 0.5

    @Option(help: "Seconds to hold the connections at rate 0.")
    var hold = 10.0
}

struct ResourceOptions: ParsableArguments {
    @Option(help: "Connects a second; 0 for as fast as the server answers.")
    var connectRate = 0.0

    @Option(help: "Connects in flight, at most.")
    var connectsInFlight = 256

    @Option(help: "Seconds until a connect or an answer is given up.")
    var timeout = 10.0

    @Option(help: "Local addresses 127.0.0.2… to connect from: one has about 28,000 ports. As many as needed if not given.")
    var sourceAddresses: Int?

    @Option(help: "Worker processes. As many as descriptors need if not given.")
    var processes: Int?

    @Option(help: "CPUs to run on, '1' or '0,1': worker i takes the i-th of them.")
    var pin: String?

    @Option(help: "A process of the server to measure. Repeatable.")
    var pid: [Int32] = []

    @Flag(help: "Measure the children of these processes too.")
    var pidChildren = false

    @Option(name: [.short, .long], help: "table or json.")
    var output = OutputFormat.table

    // How a worker process is told what it is. Not for people.
    @Option(help: .hidden) var workerIndex: Int?
    @Option(help: .hidden) var workerRun: UInt32?
}
