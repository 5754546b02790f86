import NIOCore
import NIOPosix
import Pipeline
import Sockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Binds a port and gives each accepted socket to a loop.
struct Listener {
    /// Sockets accepted in one go, if there are descriptors for so many that are not counted yet. NIO's default of 4 polls again after each four, which halves
    /// the rate of a reconnect storm.
    static let acceptBurst = 256
    /// What the kernel keeps while this process is busy; it caps it at `net.core.somaxconn`.
    static let backlog = 4096

    let shared: NodeShared
    let group: any EventLoopGroup
    /// By the identity of their event loop.
    let loops: [ObjectIdentifier: NIOLoopBound<LoopContext>]

    func bindSubscribers(_ address: ListenAddress) async throws -> any Channel {
        let shared = self.shared
        let limits = shared.configuration.limits
        let loops = self.loops
        return try await self.bind(address) { channel in
            let loop = loops[ObjectIdentifier(channel.eventLoop)]!.value
            let admission = shared.admitSubscriber()
            guard admission != .dropped else { throw ListenerError.full }
            channel.closeFuture.assumeIsolated().whenComplete { _ in shared.releaseSubscriber() }
            if admission == .refused { loop.statistics.refusedAtLimit += 1 }
            let options = channel.syncOptions!
            try options.setOption(.recvAllocator, value: TransientReceiveAllocator(capacity: 1024, capacityMax: 4096))
            // Half of the bound in the channel's own queue, and at most half of it in one write more.
            let high = max(1024, limits.subscriberBufferedBytesMax / 2)
            try options.setOption(.writeBufferWaterMark, value: ChannelOptions.Types.WriteBufferWaterMark(low: high / 2, high: high))
            try options.setOption(.allowRemoteHalfClosure, value: true)
            try channel.pipeline.syncOperations.addHandler(SubscriberHandler(loop: loop, isOverLimit: admission == .refused))
        }
    }

    func bindAPI(_ address: ListenAddress) async throws -> any Channel {
        let shared = self.shared
        let loops = self.loops
        return try await self.bind(address) { channel in
            let loop = loops[ObjectIdentifier(channel.eventLoop)]!.value
            let admission = shared.admitAPI()
            guard admission != .dropped else { throw ListenerError.full }
            channel.closeFuture.assumeIsolated().whenComplete { _ in shared.releaseAPI() }
            if admission == .refused { loop.statistics.apiRefusedAtLimit += 1 }
            let options = channel.syncOptions!
            try options.setOption(.recvAllocator, value: TransientReceiveAllocator(capacity: 4096, capacityMax: 65_536))
            try options.setOption(.allowRemoteHalfClosure, value: true)
            try channel.pipeline.syncOperations.addHandler(APIHandler(loop: loop, isOverLimit: admission == .refused))
        }
    }

    private func bind(_ address: ListenAddress, _ setUp: @escaping @Sendable (any Channel) throws -> Void) async throws -> any Channel {
        do {
            return try await ServerBootstrap(group: self.group)
                .serverChannelOption(.backlog, value: Int32(Self.backlog))
                .serverChannelOption(.maxMessagesPerRead, value: UInt(min(Self.acceptBurst, max(4, self.shared.descriptors.refusals))))
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                // Linux gives an accepted socket its listener's options, which saves a system call for each on each connection.
                .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .serverChannelOption(
                    .tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), value: .init(self.shared.configuration.limits.stalledSecondsMax * 1000)
                )
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPauseHandler()) }
                }
                .childChannelInitializer { channel in
                    do {
                        try setUp(channel)
                        return channel.eventLoop.makeSucceededVoidFuture()
                    } catch {
                        return channel.eventLoop.makeFailedFuture(error)
                    }
                }
                .bind(host: address.host, port: address.port).get()
        } catch {
            throw ListenerError.bind("\(address): \(Self.sentence(error, address))")
        }
    }

    private static func sentence(_ error: any Error, _ address: ListenAddress) -> String {
        guard let error = error as? IOError else { return "cannot listen there: \(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "another process listens there; stop it or choose another port"
        case EACCES: return "not allowed to listen there; choose a port above 1023"
        case EADDRNOTAVAIL: return "this machine does not have that address"
        default: return "cannot listen there: \(error)"
        }
    }
}

enum ListenerError: Error, CustomStringConvertible {
    /// No descriptor to spare, not even to say so.
    case full
    case bind(String)

    var description: String {
        switch self {
        case .full: "too many connections"
        case .bind(let message): message
        }
    }
}
