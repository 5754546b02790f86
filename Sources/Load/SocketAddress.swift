import Glibc

enum Socket {
    /// Sends bytes. If the other side has closed the connection, there is no SIGPIPE. Returns the result of `send`.
    @inline(__always)
    static func send(_ bytes: [UInt8], to descriptor: Int32) -> Int {
        bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
    }
}

/// A TCP address in the form that socket calls need.
struct SocketAddress: Sendable {
    /// `IP_BIND_ADDRESS_NO_PORT` of <linux/in.h>, which Glibc does not export.
    private static let bindAddressNoPort: Int32 = 24

    private var storage: sockaddr_storage
    private var length: socklen_t
    var family: Int32 { Int32(self.storage.ss_family) }

    /// The IPv4 address 127.0.0.1 plus an offset, as the source address of connections.
    init(loopbackOffset offset: Int) {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = (0x7F00_0001 &+ UInt32(offset)).bigEndian
        self.storage = sockaddr_storage()
        self.length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutableBytes(of: &self.storage) { $0.storeBytes(of: address, as: sockaddr_in.self) }
    }

    init(host: String, port: UInt16) throws(LoadError) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &list) == 0, let first = list else {
            throw .unreachable("the host name \(host) cannot be resolved: check the URL")
        }
        defer { freeaddrinfo(list) }
        self.storage = sockaddr_storage()
        self.length = first.pointee.ai_addrlen
        withUnsafeMutableBytes(of: &self.storage) {
            $0.copyMemory(from: UnsafeRawBufferPointer(start: first.pointee.ai_addr, count: Int(first.pointee.ai_addrlen)))
        }
    }

    var isIPv4Loopback: Bool {
        guard self.family == AF_INET else { return false }
        return withUnsafeBytes(of: self.storage) { $0.loadUnaligned(as: sockaddr_in.self).sin_addr.s_addr & 0xFF == 127 }
    }

    /// Opens a non-blocking socket and starts to connect it. Returns the descriptor, or the negative error number.
    func connect(from source: SocketAddress?) -> Int32 {
        let flags = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let descriptor = socket(self.family, flags, 0)
        guard descriptor >= 0 else { return -errno }
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        if let source {
            // The kernel chooses the port in `connect`, when it knows both addresses. So connections to different targets can use the same port.
            setsockopt(descriptor, Int32(IPPROTO_IP), SocketAddress.bindAddressNoPort, &on, socklen_t(MemoryLayout<Int32>.size))
            guard source.withPointer({ bind(descriptor, $0, $1) }) == 0 else { return Self.fail(descriptor) }
        }
        guard self.withPointer({ Glibc.connect(descriptor, $0, $1) }) == 0 || errno == EINPROGRESS else { return Self.fail(descriptor) }
        return descriptor
    }

    /// Tries to connect once within this time. Returns the error number, or 0.
    func probe(milliseconds: Int32) -> Int32 {
        let descriptor = self.connect(from: nil)
        guard descriptor >= 0 else { return -descriptor }
        defer { close(descriptor) }
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        guard poll(&poller, 1, milliseconds) > 0 else { return ETIMEDOUT }
        return Self.pendingError(descriptor)
    }

    static func pendingError(_ descriptor: Int32) -> Int32 {
        var error: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
        return error
    }

    private static func fail(_ descriptor: Int32) -> Int32 {
        let error = errno
        close(descriptor)
        return -error
    }

    private func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: self.storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, self.length) }
        }
    }
}
