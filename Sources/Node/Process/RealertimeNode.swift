import AdminAPI
import Coordination
import Gateway
import Logging
import NIOCore
import NIOPosix
import Partitioning
import Pipeline
import Relay
import ServiceLifecycle
import Storage

/// Starts a node's log, loops, stages and listeners, and stops them gracefully.
struct RealertimeNode: Service {
    let configuration: NodeConfiguration
    let version: String
    private let commit: String
    let logger: Logger

    init(configuration: NodeConfiguration, version: String, commit: String, logger: Logger) {
        self.configuration = configuration
        self.version = version
        self.commit = commit
        self.logger = logger
    }

    func run() async throws {
        let life = NodeLife(startedAt: WallClock.now())
        let descriptors = try self.descriptorShares()
        let folder = try self.lockFolder()
        defer { withExtendedLifetime(folder) {} }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: self.configuration.loops)
        let session = SessionValidity()
        let log: any Log
        let partitions: Partitions
        do {
            partitions = Partitions(count: try await self.partitionCount())
            log = try await self.openLog(partitions, session, group)
        } catch {
            try? await group.shutdownGracefully()
            throw error
        }
        do {
            try await self.serve(life, descriptors, partitions, session, log, group)
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
            isMember: self.configuration.cluster.zookeeper != nil, redisServers: self.redisServerCount,
            isAPIMaxGiven: self.configuration.origins["api-connections-max"] != nil)
    }

    private var redisServerCount: Int { (try? self.configuration.cluster.redis.addresses().count) ?? 0 }

    /// A member without a log on SQLite keeps only `cluster.json` in its data folder. The log on SQLite locks the folder itself.
    private func lockFolder() throws -> FolderLock? {
        guard self.configuration.cluster.zookeeper != nil, self.configuration.log != .sqlite else { return nil }
        return try FolderLock(folder: self.configuration.data)
    }

    /// Returns before the log on Redis is connected: the node starts without Redis, says why it is not ready, and becomes ready by itself.
    private func openLog(_ partitions: Partitions, _ session: SessionValidity, _ group: MultiThreadedEventLoopGroup) async throws -> any Log {
        switch self.configuration.log {
        case .memory:
            guard self.isMember else { return MemoryLog(limits: self.configuration.limits) }
            return MemoryLog(limits: self.configuration.limits) { session.isValid }
        case .sqlite:
            return try SQLiteLog(
                folder: self.configuration.data, durability: self.configuration.durability, limits: self.configuration.limits)
        case .redis:
            let log = RedisLog(
                settings: try self.configuration.redisLogSettings(), loops: Array(group.makeIterator()),
                partitions: partitions, limits: self.configuration.limits, logger: self.logger)
            await log.start()
            return log
        }
    }

    private func serve(
        _ life: NodeLife, _ descriptors: DescriptorShares, _ partitions: Partitions, _ session: SessionValidity, _ log: any Log,
        _ group: MultiThreadedEventLoopGroup
    ) async throws {
        let eventLoops = Array(group.makeIterator())
        let limits = self.configuration.limits
        let sequencers = Sequencers(
            loops: eventLoops, log: log, limits: limits,
            commitInterval: self.configuration.log == .memory ? .zero : .microseconds(Int64(limits.commitIntervalMicroseconds)),
            clocks: .system, partitions: partitions)
        let relays = self.isMember ? Relays(logger: self.logger) : nil
        let router = relays?.makeRouter(sequencers, partitions: partitions, clocks: .system, settings: RelaySettings(limits)) ?? sequencers.router
        let stages = await self.makeStages(eventLoops, sequencers, router)
        await relays?.start(stages.map(\.fanout))
        let gateway = try await Gateway(
            self.gatewaySettings(descriptors), stages: stages, channels: relays ?? sequencers,
            logger: self.logger)
        let inspector = NodeInspector(
            identity: NodeIdentity(id: self.configuration.id, version: self.version, commit: self.commit), life: life, limits: limits, gateway: gateway,
            sequencers: sequencers, relays: relays, log: log)

        let lone: LoneCoordinator? =
            self.isMember
            ? nil
            : LoneCoordinator(
                id: self.configuration.id, version: self.version, startedAt: life.startedAt, wallClock: WallClock.now, storage: sequencers
            ) { await inspector.process() }
        try await lone?.start()

        let listeners = try await gateway.bind(group: group, node: inspector)
        var member: ClusterMember?
        if let relays { member = try await self.makeMember(gateway, sequencers, relays, partitions, descriptors, group, startedAt: life.startedAt) }
        if let member { session.follow(member.coordinator) }
        if let coordinator: any ClusterAdministration = member?.coordinator ?? lone { inspector.join(coordinator, member: member) }
        life.state = .ready
        // A member of a cluster is ready (see /readyz) only after the cluster has accepted it.
        self.logger.info(
            member == nil ? "ready" : "serving, joining the cluster",
            metadata: [
                "id": "\(self.configuration.id)", "listen": "\(gateway.listenAddress)", "api": "\(gateway.apiAddress)",
                "log": "\(self.configuration.log.rawValue)", "loops": "\(eventLoops.count)", "connections-max": "\(descriptors.subscribers)",
                "milliseconds": "\(Int(life.uptime / .milliseconds(1)))",
            ])
        OperatingSystem.releaseProgramPages()

        let expiring = relays.map { relays in
            // Publishes and reads that wait for an owner are refused at their deadline, to a quarter of a second. Also while the node stops.
            Task { while (try? await Task.sleep(for: .milliseconds(250))) != nil { relays.tick() } }
        }
        defer { expiring?.cancel() }
        try await withThrowingTaskGroup(of: Void.self) { [member] group in
            if let member { group.addTask { try await member.run { await inspector.nodeMetrics() } } }
            group.addTask { try await self.everySecondUntilShutdown(inspector, sequencers, relays, member, isReady: member == nil) }
            for listener in listeners {
                group.addTask {
                    // The system may close a listening socket. A node that no client can reach must be restarted.
                    try? await listener.closeFuture.get()
                    guard life.state != .stopping else { return }
                    throw NodeError("a listening socket was closed by the system; start the node again, and look at the system's log")
                }
            }
            // A task ends after a signal, or with an error: the cluster refuses this node, or a listening socket was closed.
            let end = await group.nextResult()
            life.state = .stopping
            if case .failure = end { group.cancelAll() }
            await self.stop(gateway, listeners, sequencers, relays, member)
            await member?.close()
            try await group.waitForAll()
            try end?.get()
        }
        await log.close()
        self.logger.info("stopped")
    }

    private func gatewaySettings(_ descriptors: DescriptorShares) -> Gateway.Settings {
        var settings = Gateway.Settings(
            listen: self.configuration.listen, api: self.configuration.api, limits: self.configuration.limits, subscribersMax: descriptors.subscribers,
            apiConnectionsMax: descriptors.api, refusalsMax: descriptors.refusals)
        settings.corsOrigins = self.configuration.corsOrigins
        settings.apiToken = self.configuration.apiToken
        return settings
    }

    private var isMember: Bool { self.configuration.cluster.zookeeper != nil }

    private func makeStages(_ eventLoops: [any EventLoop], _ sequencers: Sequencers, _ router: Router) async -> [Gateway.Stages] {
        var stages: [Gateway.Stages] = []
        for (index, eventLoop) in eventLoops.enumerated() {
            let fanout = Fanout(loop: eventLoop, id: .loop(index), router: router, limits: self.configuration.limits)
            await sequencers.add(fanout, as: .loop(index))
            let messageIDs = self.isMember ? MessageIDs(random: .random(in: 0...UInt64.max)) : nil
            stages.append(
                Gateway.Stages(loop: eventLoop, fanout: fanout, publisher: Publisher(loop: eventLoop, router: router, messageIDs: messageIDs)))
        }
        return stages
    }

    // MARK: - Serving

    private func everySecondUntilShutdown(
        _ inspector: NodeInspector, _ sequencers: Sequencers, _ relays: Relays?, _ member: ClusterMember?, isReady: Bool
    ) async throws {
        try await cancelWhenGracefulShutdown {
            var isReady = isReady
            // The shutdown cancels the sleep, so nothing below runs after the shutdown has begun.
            while (try? await Task.sleep(for: .seconds(1))) != nil {
                if let problem = await member?.partitionCountProblem() { throw NodeError(problem) }
                await sequencers.tick()
                relays?.compare()
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

    /// Hands the partitions over, closes the listeners, responds to requests in flight, asks subscribers to reconnect in slices, and waits until all bytes are
    /// sent. At the deadline it stops waiting.
    private func stop(
        _ gateway: Gateway, _ listeners: [any Channel], _ sequencers: Sequencers, _ relays: Relays?, _ member: ClusterMember?
    ) async {
        let seconds = self.configuration.limits.shutdownSecondsMax
        self.logger.info("stopping", metadata: ["seconds-max": "\(seconds)", "connections": "\(gateway.openSubscribers)"])
        let deadline = ContinuousClock.now + .seconds(seconds)
        guard let relays, let member else {
            for listener in listeners { try? await listener.close() }
            // Subscribers get the last events before they are disconnected.
            await sequencers.stop(deadline: deadline)
            return await gateway.stop(deadline: deadline)
        }
        // The node serves as before until other nodes own its partitions. Half of the time is left for the subscribers. The links stay open until the end: publishes
        // that reach this node go to the owners, and subscribers get their events.
        await member.leave(handingOverUntil: deadline - .milliseconds(seconds * 500))
        for listener in listeners { try? await listener.close() }
        await gateway.stop(deadline: deadline)
        await relays.stop(deadline: deadline)
        await sequencers.stop(deadline: deadline)
    }
}

/// Why a node cannot run. The text says what an operator must change.
struct NodeError: Error, CustomStringConvertible {
    var description: String

    init(_ description: String) {
        self.description = description
    }
}
