import Coordination
import Logging
import NIOCore
import NIOPosix
import Partitioning
import Pipeline
import ServiceLifecycle
import Storage

/// A node: its loops, its stages on them, its listeners, from start to a graceful end.
struct RealertimeNode: Service {
    let configuration: NodeConfiguration
    private let version: String
    private let commit: String
    let logger: Logger

    init(configuration: NodeConfiguration, version: String, commit: String, logger: Logger) {
        self.configuration = configuration
        self.version = version
        self.commit = commit
        self.logger = logger
    }

    func run() async throws {
        let startedAt = WallClock.now()
        let shared = NodeShared(
            configuration: self.configuration, descriptors: try self.descriptorShares(), version: self.version, commit: self.commit, startedAt: startedAt,
            logger: self.logger)
        let log = try self.openLog()
        let group = MultiThreadedEventLoopGroup(numberOfThreads: self.configuration.loops)
        do {
            try await self.serve(shared, log, group, startedAt)
        } catch {
            await log.close()
            try? await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    // MARK: - Starting

    private func descriptorShares() throws -> DescriptorShares {
        try DescriptorShares(
            descriptors: OperatingSystem.raiseDescriptorLimit(), limits: self.configuration.limits, loops: self.configuration.loops,
            isMember: self.configuration.cluster.zookeeper != nil, isAPIMaxGiven: self.configuration.origins["api-connections-max"] != nil)
    }

    private func openLog() throws -> any Log {
        switch self.configuration.log {
        case .memory:
            return MemoryLog(limits: self.configuration.limits)
        case .sqlite:
            return try SQLiteLog(
                folder: self.configuration.data, durability: self.configuration.durability == .power ? .power : .process,
                limits: self.configuration.limits)
        }
    }

    private func serve(_ shared: NodeShared, _ log: any Log, _ group: MultiThreadedEventLoopGroup, _ startedAt: Int64) async throws {
        let eventLoops = Array(group.makeIterator())
        let limits = self.configuration.limits
        let sequencer = Sequencer(
            loop: eventLoops[0], log: log, limits: limits,
            commitInterval: self.configuration.log == .memory ? .zero : .microseconds(Int64(limits.commitIntervalMicroseconds)),
            clocks: .system)
        let loops = try await self.makeLoops(eventLoops, sequencer, shared)
        let inspector = NodeInspector(sequencer: sequencer, log: log, shared: shared, loops: loops, eventLoops: eventLoops)
        shared.inspector = inspector

        try await sequencer.start(grants: Grant.everyPartition())

        let byLoop = Dictionary(uniqueKeysWithValues: zip(eventLoops.map { ObjectIdentifier($0) }, loops))
        let listener = Listener(shared: shared, group: group, loops: byLoop)
        let api = try await listener.bindAPI(self.configuration.api)
        let subscribers = try await listener.bindSubscribers(self.configuration.listen)
        shared.boundAddresses = (Self.address(subscribers), Self.address(api))
        let member = try await self.makeMember(shared, group, startedAt)
        shared.member = member
        shared.cluster = member?.coordinator ?? EmbeddedCluster(inspector: inspector, shared: shared)
        shared.state = .ready
        // A member is ready, as /readyz has it, once the cluster has taken it.
        self.logger.info(
            member == nil ? "ready" : "serving, joining the cluster",
            metadata: [
                "id": "\(self.configuration.id)", "listen": "\(shared.boundAddresses.listen)", "api": "\(shared.boundAddresses.api)",
                "log": "\(self.configuration.log.rawValue)", "loops": "\(loops.count)", "connections-max": "\(shared.connectionsMax)",
                "milliseconds": "\(Int(shared.uptime / .milliseconds(1)))",
            ])
        OperatingSystem.releaseProgramPages()

        try await withThrowingTaskGroup(of: Void.self) { group in
            if let member { group.addTask { try await member.run { await inspector.figures() } } }
            group.addTask { await self.everySecondUntilShutdown(inspector, sequencer, isReady: member == nil) }
            for listener in [api, subscribers] {
                group.addTask {
                    // The system may take a listening socket away. A node that nobody can reach is to be started again.
                    try? await listener.closeFuture.get()
                    guard shared.state != .stopping else { return }
                    throw NodeError("a listening socket was closed by the system; start the node again, and look at the system's log")
                }
            }
            // Whichever ends first: a signal came, or the cluster does not take this node.
            let end = await group.nextResult()
            shared.state = .stopping
            // The others take over while this node says goodbye to its subscribers.
            member?.leave()
            if case .failure = end { group.cancelAll() }
            await self.stop(shared, [api, subscribers], zip(eventLoops, loops).map { ($0, $1) }, sequencer)
            try await group.waitForAll()
            try end?.get()
        }
        await log.close()
        self.logger.info("stopped")
    }

    private func makeLoops(
        _ eventLoops: [any EventLoop], _ sequencer: Sequencer, _ shared: NodeShared
    ) async throws -> [NIOLoopBound<LoopContext>] {
        var loops: [NIOLoopBound<LoopContext>] = []
        for (index, eventLoop) in eventLoops.enumerated() {
            let fanout = Fanout(loop: eventLoop, index: index, owner: sequencer, limits: self.configuration.limits)
            await sequencer.add(fanout)
            let publisher = Publisher(loop: eventLoop, owner: sequencer)
            loops.append(
                try await eventLoop.submit {
                    let context = LoopContext(loop: eventLoop, fanout: fanout, publisher: publisher, sequencer: sequencer, shared: shared)
                    context.start()
                    return NIOLoopBound(context, eventLoop: eventLoop)
                }.get())
        }
        return loops
    }

    private static func address(_ channel: any Channel) -> String {
        guard let address = channel.localAddress, let ip = address.ipAddress, let port = address.port else { return "" }
        return ip.contains(":") ? "[\(ip)]:\(port)" : "\(ip):\(port)"
    }

    // MARK: - Serving

    private func everySecondUntilShutdown(_ inspector: NodeInspector, _ sequencer: Sequencer, isReady: Bool) async {
        await cancelWhenGracefulShutdown {
            var isReady = isReady
            while !Task.isCancelled {
                try? await Task.sleep(for: .seconds(1))
                await sequencer.tick()
                await inspector.sampleRates()
                await inspector.followDrain()
                await inspector.reportLogError(to: self.logger)
                if !isReady, await inspector.reasonNotReady() == nil {
                    isReady = true
                    self.logger.info("ready")
                }
            }
        }
    }

    // MARK: - Stopping

    /// Accepts no more, answers what is in flight, says goodbye in slices, and waits for the sockets to drain, all before the deadline.
    private func stop(
        _ shared: NodeShared, _ listeners: [any Channel], _ loops: [(any EventLoop, NIOLoopBound<LoopContext>)], _ sequencer: Sequencer
    ) async {
        let seconds = self.configuration.limits.shutdownSecondsMax
        self.logger.info("stopping", metadata: ["seconds-max": "\(seconds)", "connections": "\(shared.connectionCounts.subscribers)"])
        shared.state = .stopping
        let deadline = ContinuousClock.now + .seconds(seconds)
        for listener in listeners { try? await listener.close() }
        await sequencer.stop(deadline: deadline)
        for (eventLoop, bound) in loops {
            let completed = eventLoop.makePromise(of: Void.self)
            eventLoop.execute { bound.value.stop(completed: completed) }
            try? await completed.futureResult.get()
        }
        while shared.connectionCounts.subscribers + shared.connectionCounts.api > 0, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(10))
        }
    }
}

/// Why a node cannot run, in a sentence that says what to change.
struct NodeError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}
