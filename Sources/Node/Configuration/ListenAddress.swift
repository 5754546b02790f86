/// Where a listener binds: `host:port`, or `[v6]:port`.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A host name or an IP address, without brackets.
    package var host: String
    /// 0 lets the kernel choose.
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

    /// Whether only this machine reaches it.
    package var isLoopback: Bool {
        if self.host.lowercased() == "localhost" || self.host == "::1" { return true }
        let parts = self.host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Whether it binds every interface.
    package var isWildcard: Bool {
        self.host == "0.0.0.0" || self.host == "::"
    }

    /// Whether the two cannot both be bound. Port 0 never clashes: the kernel chooses a free one.
    package func overlaps(_ other: ListenAddress) -> Bool {
        self.port == other.port && self.port != 0 && (self.host == other.host || self.isWildcard || other.isWildcard)
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

    /// Also the zone of a link-local address, `fe80::1%eth0`.
    private static func isIPv6Byte(_ byte: UInt8) -> Bool {
        self.isHostByte(byte) || byte == UInt8(ascii: ":") || byte == UInt8(ascii: "%")
    }
}
