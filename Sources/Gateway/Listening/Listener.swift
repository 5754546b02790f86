import NIOCore
import NIOPosix
import Pipeline
import Sockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Binds one port. Counts each accepted connection, and sets it up for requests or for a refusal.
struct Listener {
    let group: any EventLoopGroup
    let admission: Admission
    /// The largest number of sockets that are accepted in one turn of the loop. These sockets are open for a moment before they are counted.
    let uncountedMax: Int
    let stalledSecondsMax: Int

    /// - Parameter setUp: called for admitted and for refused connections, on the connection's loop.
    func bind(
        _ address: ListenAddress, _ setUp: @escaping @Sendable (_ channel: any Channel, _ isOverLimit: Bool) throws -> Void
    ) async throws -> any Channel {
        let admission = self.admission
        do {
            return try await ServerBootstrap(group: self.group)
                .serverChannelOption(.backlog, value: Int32(FixedLimits.acceptBacklog))
                .serverChannelOption(.maxMessagesPerRead, value: UInt(min(Slices.acceptsMax, max(4, self.uncountedMax))))
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                // On Linux an accepted socket inherits its listener's options, which saves a system call for each option.
                .serverChannelOption(.tcpOption(.tcp_nodelay), value: 1)
                .serverChannelOption(.tcpOption(NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)), value: .init(self.stalledSecondsMax * 1000))
                .serverChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPauseHandler()) }
                }
                .childChannelInitializer { channel in
                    do {
                        let verdict = admission.enter()
                        guard verdict != .dropped else { throw ListenerError.full }
                        channel.closeFuture.assumeIsolated().whenComplete { _ in admission.leave() }
                        try setUp(channel, verdict == .refused)
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
        guard let error = error as? IOError else { return "cannot listen on this address: \(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "another process listens on this address; stop that process, or choose another port"
        case EACCES: return "no permission to listen on this port; choose a port above 1023"
        case EADDRNOTAVAIL: return "this machine does not have this address; choose another address"
        default: return "cannot listen on this address: \(error)"
        }
    }
}

enum ListenerError: Error, CustomStringConvertible {
    /// No descriptor is left for a refusal.
    case full
    case bind(String)

    var description: String {
        switch self {
        case .full: "too many connections"
        case .bind(let message): message
        }
    }
}
