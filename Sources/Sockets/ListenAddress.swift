#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The address on which a listener listens: `host:port`, or `[v6]:port`.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A host name or an IP address, without brackets.
    package var host: String
    /// The kernel chooses a free port if this is 0.
    package var port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Nil if the text is not an address.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        guard let port = Int(digits), port <= 65_535 else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") {
            guard host.hasSuffix("]") else { return nil }
            host = host.dropFirst().dropLast()
            guard host.contains(":"), host.utf8.allSatisfy(ListenAddress.isIPv6Byte) else { return nil }
        } else {
            guard host.utf8.allSatisfy(ListenAddress.isHostByte) else { return nil }
        }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port)
    }

    package var description: String {
        self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)"
    }

    /// Whether only this machine can reach the address.
    package var isLoopback: Bool {
        if self.host.lowercased() == "localhost" { return true }
        guard let bytes = self.numeric else { return false }
        return bytes.count == 4 ? bytes[0] == 127 : bytes.dropLast().allSatisfy { $0 == 0 } && bytes.last == 1
    }

    /// Whether the address stands for every interface.
    package var isWildcard: Bool { self.numeric?.allSatisfy { $0 == 0 } ?? false }

    /// Whether the two addresses cannot both be bound. Port 0 never conflicts: the kernel chooses a free port.
    package func overlaps(_ other: ListenAddress) -> Bool {
        guard self.port == other.port, self.port != 0 else { return false }
        if self.host == other.host || self.isWildcard || other.isWildcard { return true }
        guard let one = self.numeric, let two = other.numeric else { return false }
        return one == two
    }

    /// The address in network order, 4 or 16 bytes, as the system parses the text. Nil for a host name. `0`, `127.1` and `0x7f000001` are addresses too.
    /// An IPv4 address written as IPv6 (`::ffff:127.0.0.1`) is returned as IPv4.
    private var numeric: [UInt8]? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        hints.ai_family = AF_UNSPEC
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(self.host, nil, &hints, &first) == 0, let first else { return nil }
        defer { freeaddrinfo(first) }
        switch first.pointee.ai_family {
        case AF_INET:
            return first.pointee.ai_addr.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { withUnsafeBytes(of: $0.pointee.sin_addr) { Array($0) } }
        case AF_INET6:
            let bytes = first.pointee.ai_addr.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) }
            }
            let isMapped = bytes.prefix(10).allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
            return isMapped ? Array(bytes.suffix(4)) : bytes
        default:
            return nil
        }
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default:
            false
        }
    }

    /// Includes the zone of a link-local address, `fe80::1%eth0`.
    private static func isIPv6Byte(_ byte: UInt8) -> Bool {
        self.isHostByte(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
    }
}
