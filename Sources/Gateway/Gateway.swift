package import Logging
package import NIOCore
package import Pipeline
package import Sockets

/// The two ports of a node, on all its loops: subscribers connect to one, back ends and operators to the other.
package final class Gateway: Sendable {
    package struct Settings: Sendable {
        package var listen: ListenAddress
        package var api: ListenAddress
        package var corsOrigins: [String] = []
        /// The token that a request on the API port must have. The token is secret and must never be printed.
        package var apiToken: String?
        package var limits: Limits
        package var subscribersMax: Int
        package var apiConnectionsMax: Int
        /// Each port accepts this many connections above its limit, only to send them a refusal.
        package var refusalsMax: Int

        package init(listen: ListenAddress, api: ListenAddress, limits: Limits, subscribersMax: Int, apiConnectionsMax: Int, refusalsMax: Int) {
            self.listen = listen
            self.api = api
            self.limits = limits
            self.subscribersMax = subscribersMax
            self.apiConnectionsMax = apiConnectionsMax
            self.refusalsMax = refusalsMax
        }
    }

    /// One event loop and its actors.
    package struct Stages: Sendable {
        package var loop: any EventLoop
        package var fanout: Fanout
        package var publisher: Publisher

        package init(loop: any EventLoop, fanout: Fanout, publisher: Publisher) {
            self.loop = loop
            self.fanout = fanout
            self.publisher = publisher
        }
    }

    private let settings: Settings
    private let stages: [Stages]
    private let loops: [NIOLoopBound<LoopContext>]
    private let channels: any ChannelDirectory
    private let refusedOrigins: RefusedOriginLog
    private let addresses = BoundAddresses()
    private let subscriberAdmission: Admission
    private let apiAdmission: Admission

    /// Starts the clock of each loop. ``bind(group:node:)`` starts to accept connections.
    package init(_ settings: Settings, stages: [Stages], channels: any ChannelDirectory, logger: Logger) async throws {
        self.settings = settings
        self.stages = stages
        self.channels = channels
        self.refusedOrigins = RefusedOriginLog(logger)
        self.subscriberAdmission = Admission(connectionsMax: settings.subscribersMax, refusalsMax: settings.refusalsMax)
        self.apiAdmission = Admission(connectionsMax: settings.apiConnectionsMax, refusalsMax: settings.refusalsMax)
        var loops: [NIOLoopBound<LoopContext>] = []
        for stages in stages {
            loops.append(
                try await stages.loop.submit {
                    let context = LoopContext(loop: stages.loop, fanout: stages.fanout, limits: settings.limits)
                    context.start()
                    return NIOLoopBound(context, eventLoop: stages.loop)
                }.get())
        }
        self.loops = loops
    }

    /// The bound address of the subscriber port.
    package var listenAddress: String { self.addresses.listen }
    /// The bound address of the API port.
    package var apiAddress: String { self.addresses.api }

    // MARK: - Listening

    /// Binds both ports. Returns their listening sockets. Throws an error with a message for people.
    package func bind(group: any EventLoopGroup, node: any NodeFacade) async throws -> [any Channel] {
        // The page on the API port subscribes on the subscriber port. For a browser, the subscriber port is another origin.
        let own = Self.ownOrigins(self.settings.api)
        let api = try await self.bindAPI(group, node, own)
        self.addresses.api = Self.address(api)
        let subscribers = try await self.bindSubscribers(group, own)
        self.addresses.listen = Self.address(subscribers)
        return [api, subscribers]
    }

    private func bindSubscribers(_ group: any EventLoopGroup, _ ownOrigins: [String]) async throws -> any Channel {
        let origins = Origins(self.settings.corsOrigins + ownOrigins)
        let heartbeats = Heartbeats()
        let ports = try await self.onEachLoop { [refusedOrigins, addresses, settings] loop, stages in
            SubscriberPort(
                loop: loop, fanout: stages.fanout, origins: origins, refusedOrigins: refusedOrigins, heartbeats: heartbeats, addresses: addresses,
                subscribersMax: settings.subscribersMax)
        }
        // The watermark is half of the limit, because a write that begins below the watermark may add the other half.
        let high = max(1024, self.settings.limits.subscriberBufferedBytesMax / 2)
        return try await self.listener(group, self.subscriberAdmission).bind(self.settings.listen) { channel, isOverLimit in
            let port = ports[ObjectIdentifier(channel.eventLoop)]!.value
            if isOverLimit { port.loop.metrics.refusedAtLimit += 1 }
            let options = channel.syncOptions!
            try options.setOption(.recvAllocator, value: TransientReceiveAllocator(capacity: 1024, capacityMax: 4096))
            try options.setOption(.writeBufferWaterMark, value: ChannelOptions.Types.WriteBufferWaterMark(low: high / 2, high: high))
            try options.setOption(.allowRemoteHalfClosure, value: true)
            try channel.pipeline.syncOperations.addHandler(SubscriberHandler(port: port, isOverLimit: isOverLimit))
        }
    }

    private func bindAPI(_ group: any EventLoopGroup, _ node: any NodeFacade, _ ownOrigins: [String]) async throws -> any Channel {
        let services = APIServices(
            // `*` allows all pages to subscribe, but not to publish. Otherwise any page could publish through the browsers of its visitors.
            origins: Origins(self.settings.corsOrigins.filter { $0 != "*" } + ownOrigins), refusedOrigins: self.refusedOrigins, token: self.settings.apiToken,
            connectionsMax: self.settings.apiConnectionsMax, page: PageResponse(), channels: self.channels, node: node, addresses: self.addresses)
        let ports = try await self.onEachLoop { loop, stages in APIPort(loop: loop, publisher: stages.publisher, services: services) }
        return try await self.listener(group, self.apiAdmission).bind(self.settings.api) { channel, isOverLimit in
            let port = ports[ObjectIdentifier(channel.eventLoop)]!.value
            if isOverLimit { port.loop.metrics.apiRefusedAtLimit += 1 }
            let options = channel.syncOptions!
            try options.setOption(.recvAllocator, value: TransientReceiveAllocator(capacity: 4096, capacityMax: 65_536))
            try options.setOption(.allowRemoteHalfClosure, value: true)
            try channel.pipeline.syncOperations.addHandler(APIHandler(port: port, isOverLimit: isOverLimit))
        }
    }

    private func listener(_ group: any EventLoopGroup, _ admission: Admission) -> Listener {
        Listener(
            group: group, admission: admission, uncountedMax: self.settings.refusalsMax, stalledSecondsMax: self.settings.limits.stalledSecondsMax)
    }

    /// Creates a value on each loop. The keys are the identities of the loops, so that an accepted connection finds the value of its loop.
    private func onEachLoop<Value>(
        _ make: @escaping @Sendable (LoopContext, Stages) -> Value
    ) async throws -> [ObjectIdentifier: NIOLoopBound<Value>] {
        var values: [ObjectIdentifier: NIOLoopBound<Value>] = [:]
        for (loop, stages) in zip(self.loops, self.stages) {
            values[ObjectIdentifier(stages.loop)] = try await stages.loop.submit {
                NIOLoopBound(make(loop.value, stages), eventLoop: stages.loop)
            }.get()
        }
        return values
    }

    /// The origins from which a browser may have loaded the page on the API port.
    private static func ownOrigins(_ api: ListenAddress) -> [String] {
        var hosts = ["127.0.0.1", "localhost", "[::1]"]
        if !api.isWildcard, !api.isLoopback { hosts.append(api.host.contains(":") ? "[\(api.host)]" : api.host) }
        return hosts.map { "http://\($0):\(api.port)" }
    }

    private static func address(_ channel: any Channel) -> String {
        guard let address = channel.localAddress, let ip = address.ipAddress, let port = address.port else { return "" }
        return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }

    // MARK: - Serving

    /// Starts or stops asking subscribers to reconnect to another node.
    package func setDraining(_ isDraining: Bool) {
        for loop in self.loops { loop.eventLoop.execute { loop.value.setDraining(isDraining) } }
    }

    /// The totals of all loops. Not for the data path, because this function waits for every loop.
    package func metrics() async -> GatewayMetrics {
        let (subscribers, api) = (self.subscriberAdmission.counts, self.apiAdmission.counts)
        var metrics = GatewayMetrics(
            loops: self.loops.count, openSubscribers: subscribers.open, openAPI: api.open, droppedSubscribers: subscribers.dropped, droppedAPI: api.dropped,
            subscribersMax: self.settings.subscribersMax, apiConnectionsMax: self.settings.apiConnectionsMax)
        for loop in self.loops {
            let found = try? await loop.eventLoop.submit { (loop.value.metrics, loop.value.fanout.onLoop { $0.currentMetrics }) }.get()
            guard let found else { continue }
            metrics.connections += found.0
            metrics.fanout += found.1
        }
        return metrics
    }

    // MARK: - Stopping

    /// Open connections of the subscriber port.
    package var openSubscribers: Int { self.subscriberAdmission.counts.open }

    /// Ends every connection gracefully, in slices. Then waits until all sockets are closed, or until the deadline.
    package func stop(deadline: ContinuousClock.Instant) async {
        for loop in self.loops {
            let completed = loop.eventLoop.makePromise(of: Void.self)
            loop.eventLoop.execute { loop.value.stop(completed: completed) }
            try? await completed.futureResult.get()
        }
        while self.subscriberAdmission.counts.open + self.apiAdmission.counts.open > 0, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(10))
        }
    }
}

/// The metrics of both ports, over all loops.
package struct GatewayMetrics: Sendable {
    package internal(set) var connections = ConnectionMetrics()
    package internal(set) var fanout = FanoutMetrics()
    package let loops: Int
    /// Open sockets of the subscriber port.
    package let openSubscribers: Int
    /// Open sockets of the API port.
    package let openAPI: Int
    /// Connections closed without a response, because no descriptor was left for a refusal.
    package let droppedSubscribers: UInt64
    package let droppedAPI: UInt64
    package let subscribersMax: Int
    package let apiConnectionsMax: Int
}
