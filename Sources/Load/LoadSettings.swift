import Options
import Glibc

/// The checked options. They contain everything that a worker needs.
struct LoadSettings: Sendable {
    var plan: LoadPlan
    var run: UInt32
    var transport: Transport
    /// The subscribe request. Its host is the first of ``subscribeTargets``.
    var subscribe: RequestTemplate
    /// Subscriber i connects to target i mod n. The targets have different hosts or ports, and the same path.
    var subscribeTargets: [RequestTemplate]
    var publish: RequestTemplate
    /// The URL of the node's status. Nil for another server.
    var status: RequestTemplate?
    var subscribeHeaders: [String]
    var publishHeaders: [String]
    /// The text before and after the payload in a publish body.
    var bodyPrefix: [RequestTemplate.Piece]
    var bodySuffix: [RequestTemplate.Piece]
    var channelPrefix: [UInt8]
    var payloadBytes: Int

    var warmUp: Double
    var duration: Double
    var drain: Double
    var settle: Double
    var hold: Double
    var timeout: Double

    var connectRate: Double
    var connectsInFlight: Int
    var churnAtOnce: Int
    var churnResets: Bool
    /// The number of source addresses. With 0, the system chooses one source address.
    var sourceAddresses: Int
    var pins: [Int]

    var processIDs: [Int32]
    var measuresChildren: Bool
    var output: OutputFormat

    /// Descriptors for other uses than subscribers and publishers.
    static let descriptorsReserved = 64
    static let slotsMax = 64 << 20
    /// On one machine, more workers than this do not increase the load.
    static let processesMax = 256
}

// MARK: From options

extension LoadSettings {
    init(target: TargetOptions, shape: ShapeOptions, time: TimeOptions, resources: ResourceOptions, limits: LocalLimits) throws(LoadError) {
        try Self.check(shape)
        let connections = shape.churn > 0 ? min(shape.churnAtOnce, shape.churn) : shape.subscribers
        let processes = try Self.processes(requested: resources.processes, connections: connections, publishers: shape.publishers, limits)
        self.plan = LoadPlan(
            subscribers: shape.churn > 0 ? 0 : shape.subscribers, channels: shape.channels,
            channelsPerSubscriber: shape.channelsPerSubscriber, publishers: shape.publishers, isHot: shape.hot,
            rate: shape.rate.rate, processes: processes, churn: shape.churn
        )
        self.run = resources.workerRun ?? UInt32.random(in: 1 ... .max)
        self.transport = target.transport
        self.subscribeTargets = try Self.subscribeTargets(target)
        self.subscribe = self.subscribeTargets[0]
        self.publish = try Self.template("--publish-url", target.publishUrl, "--api", target.api ?? "http://127.0.0.1:8081", "/pub?id={channel}")
        if target.subscribeUrl.isEmpty, target.publishUrl == nil {
            self.status = try Self.template("", nil, "--api", target.api ?? "http://127.0.0.1:8081", "/api/status")
        }
        self.subscribeHeaders = target.header
        self.publishHeaders = target.publishHeader + (target.secret.apiToken.map { ["Authorization: Bearer \($0)"] } ?? [])
        (self.bodyPrefix, self.bodySuffix) = try Self.split(body: target.publishBody)
        self.channelPrefix = Array(target.channelPrefix.utf8)
        self.payloadBytes = shape.payloadBytes
        (self.warmUp, self.duration, self.drain) = (time.warmUp, time.duration, time.drain)
        (self.settle, self.hold, self.timeout) = (time.settle, time.hold, resources.timeout)
        self.connectRate = resources.connectRate
        self.connectsInFlight = resources.connectsInFlight
        self.churnAtOnce = shape.churnAtOnce
        self.churnResets = shape.churnReset
        self.sourceAddresses = resources.sourceAddresses ?? 0
        self.pins = try Self.pins(resources.pin)
        self.processIDs = resources.pid.map { Int32($0) }
        self.measuresChildren = resources.pidChildren
        self.output = resources.output
        try self.checkTemplates()
    }

    private static func check(_ shape: ShapeOptions) throws(LoadError) {
        guard shape.channelsPerSubscriber <= shape.channels else {
            throw .usage("--channels-per-subscriber is \(shape.channelsPerSubscriber), but must be from 1 to \(shape.channels), the number of --channels")
        }
        let lanes = shape.hot ? shape.publishers : 1
        guard shape.subscribers * shape.channelsPerSubscriber <= self.slotsMax / lanes else {
            throw .usage("the run needs more than \(self.slotsMax / lanes) subscriptions: lower --subscribers, --channels-per-subscriber or --publishers")
        }
    }

    private func checkTemplates() throws(LoadError) {
        guard self.plan.churn == 0 || self.transport != .lp else {
            throw .usage(
                "--churn does not support --transport lp: a long-poll gets the head of its response only with the first event. Use another --transport")
        }
        guard self.subscribe.hasChannel || self.plan.channels == 1 else {
            throw .usage("--subscribe-url must contain {channel}, because there are several channels")
        }
        let body = self.bodyPrefix + self.bodySuffix
        guard self.publish.hasChannel || body.contains(.channels) || self.plan.channels == 1 else {
            throw .usage("--publish-url or --publish-body must contain {channel}, because there are several channels")
        }
        for line in self.subscribeHeaders + self.publishHeaders {
            guard line.contains(":"), !line.contains(where: \.isNewline) else { throw .usage("the header '\(line)' is invalid: write 'Name: value'") }
        }
    }

    private static func processes(requested: Int?, connections: Int, publishers: Int, _ limits: LocalLimits) throws(LoadError) -> Int {
        let each = max(1, limits.descriptors - self.descriptorsReserved - publishers)
        let needed = max(1, (connections + each - 1) / each)
        guard needed <= self.processesMax else {
            throw .usage(
                "\(connections) connections need \(needed) processes, because one process can have only \(limits.descriptors) descriptors. The maximum is "
                    + "\(self.processesMax) processes: use at most \(each * self.processesMax) connections, or raise the descriptor limit (ulimit -Hn)")
        }
        guard connections + self.descriptorsReserved <= limits.systemDescriptors else {
            throw .usage(
                "\(connections) connections need more than the \(limits.systemDescriptors) descriptors that are free on this machine: "
                    + "use fewer connections, or raise fs.file-max"
            )
        }
        guard let requested else { return needed }
        guard requested >= needed else {
            throw .usage(
                "\(connections) connections need \(needed) processes, because one process can have only \(limits.descriptors) descriptors: "
                    + "raise --processes or the descriptor limit (ulimit -Hn)"
            )
        }
        return requested
    }

    /// Chooses the number of source addresses, because one address has a limited number of ports. The coordinator and the workers compute the same number.
    mutating func chooseSourceAddresses(limits: LocalLimits) throws(LoadError) {
        var isLoopback = true
        for target in self.subscribeTargets where isLoopback { isLoopback = try SocketAddress(host: target.host, port: target.port).isIPv4Loopback }
        // A closed connection occupies its port for a minute. So churn needs ports for all its cycles, up to a million.
        let churned = self.churnResets ? self.churnAtOnce : min(self.plan.churn, 1_000_000)
        let connections = self.plan.churn == 0 ? self.plan.subscribers : churned
        let needed = limits.sourceAddresses(forConnections: connections + self.plan.publishers)
        if self.sourceAddresses == 0, needed > 1 {
            guard isLoopback else {
                throw .usage(
                    "\(connections) connections need more than the \(limits.ports) local ports of one address, and only a server on 127.0.0.0/8 allows more "
                        + "addresses: use fewer connections")
            }
            self.sourceAddresses = needed
        }
        guard self.sourceAddresses == 0 || isLoopback else {
            throw .usage("--source-addresses works only with a server on 127.0.0.0/8")
        }
        guard self.sourceAddresses == 0 || self.plan.churn > 0 || self.sourceAddresses * limits.ports >= self.plan.subscribers else {
            throw .usage("\(self.plan.subscribers) connections need \(needed) source addresses: raise --source-addresses")
        }
    }

    private static func split(body: String) throws(LoadError) -> ([RequestTemplate.Piece], [RequestTemplate.Piece]) {
        guard let place = body.firstRange(of: "{payload}") else { throw .usage("--publish-body must contain {payload}") }
        return (RequestTemplate.pieces(String(body[..<place.lowerBound])), RequestTemplate.pieces(String(body[place.upperBound...])))
    }

    private static func pins(_ text: String?) throws(LoadError) -> [Int] {
        guard let text else { return [] }
        let numbers = text.split(separator: ",").map { Int($0) }
        guard !numbers.isEmpty, numbers.allSatisfy({ $0 != nil && $0! >= 0 && $0! < 1024 }) else {
            throw .usage("--pin \(text) is invalid: give CPU numbers from 0 to 1023, such as 1 or 0,1")
        }
        return numbers.compactMap(\.self)
    }

    private static func subscribeTargets(_ target: TargetOptions) throws(LoadError) -> [RequestTemplate] {
        var targets: [RequestTemplate] = []
        for url in target.subscribeUrl { targets.append(try RequestTemplate(url: url, option: "--subscribe-url")) }
        if targets.isEmpty {
            for url in target.url.isEmpty ? ["http://127.0.0.1:8080"] : target.url {
                targets.append(try self.template("", nil, "--url", url, target.transport.path + "{channels}"))
            }
        }
        guard targets.allSatisfy({ $0.pieces == targets[0].pieces }) else {
            throw .usage("the URLs of the subscribers must have the same path: only their hosts and ports may differ")
        }
        return targets
    }

    /// The template from the URL of another server, or from a path of the node. An error names the option that the user has set.
    private static func template(
        _ other: String, _ url: String?, _ option: String, _ base: String, _ path: String
    ) throws(LoadError) -> RequestTemplate {
        if let url { return try RequestTemplate(url: url, option: other) }
        _ = try RequestTemplate(url: base, option: option)
        return try RequestTemplate(url: (base.hasSuffix("/") ? String(base.dropLast()) : base) + path, option: option)
    }
}
