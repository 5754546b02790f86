import NIOCore
import TestKit

/// A TCP proxy on loopback between a client and a Redis server, with faults that a test switches on and off while connections are open.
///
/// The proxy forwards bytes as they come, also TLS. It follows the protocol in parallel, to know where a request and its reply end. When one side closes, the
/// proxy first delivers the bytes that it holds or delays, and then closes the other side, as a real network does.
final class FaultyProxy: Sendable {
    enum Direction: Hashable, Sendable, CaseIterable {
        case toServer, toClient
    }

    struct Counters: Hashable, Sendable {
        /// Connections that clients have opened.
        var accepted = 0
        /// Connections that are open on at least one side.
        var open = 0
        /// Requests that reached the server whole.
        var requests = 0
        var repliesDropped = 0
        /// Bytes that are held or delayed now.
        var held: [Direction: Int] = [:]
        /// Bytes that ``FaultyProxy/swallow()`` discarded.
        var swallowed = 0
        /// Connections that were cut because the proxy would have had to hold too many bytes.
        var exceeded = 0
    }

    private let core: FaultyProxyCore

    /// The port that clients connect to. The port stays the same when the listener is closed and opened again.
    var port: UInt16 { self.core.port }

    /// Runs the body with a proxy that forwards, and closes everything after it.
    static func with<Value>(to server: UInt16, _ body: (FaultyProxy) async throws -> Value) async throws -> Value {
        let proxy = FaultyProxy(to: server)
        try await proxy.pass()
        do {
            let value = try await body(proxy)
            await proxy.refuse()
            return value
        } catch {
            await proxy.refuse()
            throw error
        }
    }

    private init(to server: UInt16) {
        self.core = FaultyProxyCore(to: server)
    }

    // MARK: - Faults. Each is in force when its call returns, for open and for new connections.

    /// Ends every fault and delivers what was held. Resets connections that lost bytes, because what would follow has no meaning.
    func pass() async throws { try await self.run { $0.pass() }.get() }

    /// Closes the listener, so that connecting fails immediately, and resets every connection.
    func refuse() async { try? await self.run { $0.refuse() }.get() }

    /// Resets every connection. New ones are accepted.
    func cut() async { await self.run { $0.cut() } }

    /// Holds all bytes in this direction until ``release(_:)`` or ``pass()``.
    func stall(_ direction: Direction) async { await self.run { $0.stall(direction) } }

    func release(_ direction: Direction) async { await self.run { $0.release(direction) } }

    /// The next requests reach the server, which executes them, and their replies are discarded. When the last of these replies has come, every connection is
    /// reset. After the last of these requests, nothing more reaches the server from their connections.
    ///
    /// - Parameter name: counts only requests of this command, in capitals. Other requests get their replies.
    func dropReplies(ofNext count: Int, named name: String? = nil) async { await self.run { $0.dropReplies(ofNext: count, named: name) } }

    /// Delays all bytes in this direction, and keeps their order.
    func delay(_ direction: Direction, milliseconds: Int64) async { await self.run { $0.delay(direction, .milliseconds(milliseconds)) } }

    /// Delivers this many more bytes in this direction, of all connections together. Then cuts all connections.
    func cut(afterBytes count: Int, _ direction: Direction) async { await self.run { $0.cut(afterBytes: count, direction) } }

    /// Discards all bytes of both sides. If one side closes, the other side is not notified: it still sees an open connection.
    func swallow() async { await self.run { $0.swallow() } }

    /// Resets every connection. New ones go to another server.
    func forward(to server: UInt16) async { await self.run { $0.forward(to: server) } }

    var counters: Counters {
        get async { await self.run { $0.counters } }
    }

    /// Runs the body on the core's loop.
    ///
    /// A test that called the core itself would continue on the core's loop. If the test then waited for a reply through the proxy, it would wait for itself.
    private func run<Value: Sendable>(_ body: @escaping @Sendable (isolated FaultyProxyCore) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            self.core.loop.execute { [core] in continuation.resume(returning: core.assumeIsolated { body($0) }) }
        }
    }
}
