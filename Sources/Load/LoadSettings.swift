import Options
import Glibc

/// The checked options. Everything that a worker needs.
struct LoadSettings: Sendable {
    var plan: LoadPlan
    var run: UInt32
    var transport: Transport
    var subscribe: RequestTemplate
    var publish: RequestTemplate
    /// The node's status URL. Nil for another server.
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
    /// 0: let the system choose the one source address.
    var sourceAddresses: Int
    var pins: [Int]

    var processIDs: [Int32]
    var measuresChildren: Bool
    var output: OutputFormat

    /// Descriptors that are neither subscribers nor publishers.
    static let descriptorsReserved = 64
    static let slotsMax = 64 << 20
    /// More workers do not help on one machine.
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
        self.subscribe = try Self.template(
            "--subscribe-url", target.subscribeUrl, "--url", target.url ?? "http://127.0.0.1:8080", target.transport.path + "{channels}")
        self.publish = try Self.template("--publish-url", target.publishUrl, "--api", target.api ?? "http://127.0.0.1:8081", "/pub?id={channel}")
        if target.subscribeUrl == nil, target.publishUrl == nil {
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
            throw .usage("--channels-per-subscriber must be from 1 to \(shape.channels), the number of --channels, not \(shape.channelsPerSubscriber)")
        }
        let lanes = shape.hot ? shape.publishers : 1
        guard shape.subscribers * shape.channelsPerSubscriber <= self.slotsMax / lanes else {
            throw .usage("too many sequences to follow: lower --subscribers, --channels-per-subscriber or --publishers")
        }
    }

    private func checkTemplates() throws(LoadError) {
        guard self.plan.churn == 0 || self.transport != .lp else {
            throw .usage("--churn waits for the response head, which a long-poll sends only with its first event: use another --transport")
        }
        guard self.subscribe.hasChannel || self.plan.channels == 1 else {
            throw .usage("--subscribe-url needs {channel} (or {channels}) if there are several channels")
        }
        let body = self.bodyPrefix + self.bodySuffix
        guard self.publish.hasChannel || body.contains(.channels) || self.plan.channels == 1 else {
            throw .usage("--publish-url or --publish-body needs {channel} if there are several channels")
        }
        for line in self.subscribeHeaders + self.publishHeaders {
            guard line.contains(":"), !line.contains(where: \.isNewline) else { throw .usage("a header must be 'Name: value', not '\(line)'") }
        }
    }

    private static func processes(requested: Int?, connections: Int, publishers: Int, _ limits: LocalLimits) throws(LoadError) -> Int {
        let each = max(1, limits.descriptors - self.descriptorsReserved - publishers)
        let needed = max(1, (connections + each - 1) / each)
        guard needed <= self.processesMax else {
            throw .usage(
                "\(connections) connections need \(needed) processes of at most \(limits.descriptors) descriptors, but at most \(self.processesMax) are allowed: "
                    + "use at most \(each * self.processesMax) connections, or raise the limit (ulimit -Hn)")
        }
        guard connections + self.descriptorsReserved <= limits.systemDescriptors else {
            throw .usage(
                "\(connections) connections are more than the \(limits.systemDescriptors) descriptors that this machine has left: use fewer, or raise fs.file-max"
            )
        }
        guard let requested else { return needed }
        guard requested >= needed else {
            throw .usage(
                "\(connections) connections need \(needed) processes of at most \(limits.descriptors) descriptors: "
                    + "raise --processes or the limit (ulimit -Hn)"
            )
        }
        return requested
    }

    /// A source address has a limited number of ports. More connections use more loopback addresses. Coordinator and workers compute the same number.
    mutating func chooseSourceAddresses(limits: LocalLimits) throws(LoadError) {
        let address = try SocketAddress(host: self.subscribe.host, port: self.subscribe.port)
        // A closed connection occupies its port for a minute, so a churn needs ports for all its cycles, up to a million.
        let churned = self.churnResets ? self.churnAtOnce : min(self.plan.churn, 1_000_000)
        let connections = self.plan.churn == 0 ? self.plan.subscribers : churned
        let needed = limits.sourceAddresses(forConnections: connections + self.plan.publishers)
        if self.sourceAddresses == 0, needed > 1 {
            guard address.isIPv4Loopback else {
                throw .usage("\(connections) connections need more than the \(limits.ports) local ports of one address: use fewer")
            }
            self.sourceAddresses = needed
        }
        guard self.sourceAddresses == 0 || address.isIPv4Loopback else {
            throw .usage("--source-addresses works only for a server on 127.0.0.0/8")
        }
        guard self.sourceAddresses == 0 || self.plan.churn > 0 || self.sourceAddresses * limits.ports >= self.plan.subscribers else {
            throw .usage("\(self.plan.subscribers) connections need \(needed) source addresses: raise --source-addresses")
        }
    }

    private static func split(body: String) throws(LoadError) -> ([RequestTemplate.Piece], [RequestTemplate.Piece]) {
        guard let place = body.firstRange(of: "{payload}") else { throw .usage("--publish-body needs {payload}") }
        return (RequestTemplate.pieces(String(body[..<place.lowerBound])), RequestTemplate.pieces(String(body[place.upperBound...])))
    }

    private static func pins(_ text: String?) throws(LoadError) -> [Int] {
        guard let text else { return [] }
        let numbers = text.split(separator: ",").map { Int($0) }
        guard !numbers.isEmpty, numbers.allSatisfy({ $0 != nil && $0! >= 0 && $0! < 1024 }) else {
            throw .usage("--pin must be CPU numbers such as 1 or 0,1, not \(text)")
        }
        return numbers.compactMap(\.self)
    }

    /// The URL of another server if it is given, else a path of the node. An error names the option that was given.
    private static func template(
        _ other: String, _ url: String?, _ option: String, _ base: String, _ path: String
    ) throws(LoadError) -> RequestTemplate {
        if let url { return try RequestTemplate(url: url, option: other) }
        _ = try RequestTemplate(url: base, option: option)
        return try RequestTemplate(url: (base.hasSuffix("/") ? String(base.dropLast()) : base) + path, option: option)
    }
}
