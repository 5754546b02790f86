import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A TCP socket on 127.0.0.1. Closed when its last reference is released.
public final class LoopbackSocket: Sendable {
    private let descriptor: Int32

    private init() {
        self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        precondition(self.descriptor >= 0, "No descriptor for a socket: \(errno)")
    }

    deinit {
        close(self.descriptor)
    }

    /// Binds a free port, and refuses connections to it. No other process can get the port meanwhile.
    public static func refusing() -> LoopbackSocket {
        let socket = LoopbackSocket()
        precondition(socket.withAddress(port: 0) { bind(socket.descriptor, $0, $1) } == 0, "No free port: \(errno)")
        return socket
    }

    /// Listens on a free port. The kernel accepts connections, but no response is ever sent.
    public static func listening(backlog: Int32 = 64) -> LoopbackSocket {
        let socket = self.refusing()
        listen(socket.descriptor, backlog)
        return socket
    }

    /// Connects without waiting for the other side, which may never accept.
    public static func connecting(to port: UInt16) -> LoopbackSocket {
        let socket = LoopbackSocket()
        _ = fcntl(socket.descriptor, F_SETFL, O_NONBLOCK)
        _ = socket.withAddress(port: port) { connect(socket.descriptor, $0, $1) }
        return socket
    }

    /// Returns nil if no process listens. A receive on the socket waits for at most `seconds`.
    public static func connected(to port: UInt16, seconds: Int = 1) -> LoopbackSocket? {
        let socket = LoopbackSocket()
        var timeout = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(socket.descriptor, SOL_SOCKET, SO_RCVTIMEO, &timeout, socklen_t(MemoryLayout<timeval>.size))
        return socket.withAddress(port: port) { connect(socket.descriptor, $0, $1) } == 0 ? socket : nil
    }

    /// Different ports that were free a moment ago.
    public static func freePorts(_ count: Int) -> [UInt16] {
        (0..<count).map { _ in Self.listening() }.map(\.port)
    }

    /// Returns a port that was free a moment ago, that this process has not returned before, and that the kernel uses for no outgoing connection.
    ///
    /// A server needs such a port if it is stopped and started again. While the server is down, the kernel could otherwise use the port for the own end of a
    /// client that connects to it: the client would be connected to itself.
    public static func serverPort() -> UInt16 {
        while true {
            let port = UInt16.random(in: 12_000..<32_000)
            guard self.serverPorts.withLock({ $0.insert(port).inserted }) else { continue }
            let socket = LoopbackSocket()
            if socket.withAddress(port: port, { bind(socket.descriptor, $0, $1) }) == 0 { return port }
        }
    }

    private static let serverPorts = Mutex<Set<UInt16>>([])

    public var port: UInt16 {
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            _ = $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(self.descriptor, $0, &length) }
        }
        return UInt16(bigEndian: address.sin_port)
    }

    public func send(_ text: String) {
        _ = Array(text.utf8).withUnsafeBytes { Glibc.send(self.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }

    /// Returns false if the connection has ended.
    public func send(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(self.descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    public enum Received: Hashable, Sendable {
        case bytes([UInt8])
        /// The other side closed the connection.
        case end
        /// The other side, or its system, reset the connection.
        case reset
        /// No bytes came. The connection is open.
        case nothing
    }

    /// Receives what has come. Waits for the first byte, for as long as ``connected(to:seconds:)`` allows, unless `waiting` is false.
    public func receive(waiting: Bool = true) -> Received {
        var chunk = [UInt8](repeating: 0, count: 65_536)
        let count = recv(self.descriptor, &chunk, chunk.count, waiting ? 0 : Int32(MSG_DONTWAIT))
        if count > 0 { return .bytes(Array(chunk[..<count])) }
        if count == 0 { return .end }
        return errno == EAGAIN || errno == EINTR ? .nothing : .reset
    }

    /// Receives until the other side closes, or until a receive fails.
    public func receiveAll() -> String {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = recv(self.descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += chunk[..<count]
        }
    }

    private func withAddress(port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
    }
}
