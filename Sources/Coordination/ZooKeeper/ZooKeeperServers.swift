/// ZooKeeper's servers, and the path for a cluster's znodes, as operators write them: `host:port,[v6]:port/chroot`.
///
/// ``ClusterPaths`` adds the chroot to every path. The C client could do that too, but it would treat the chroot as the root, and could not create it.
package struct ZooKeeperServers: Sendable {
    /// The servers' addresses. Hosts have no brackets.
    package private(set) var addresses: [(host: String, port: UInt16)] = []
    /// Empty, or a path that begins with a slash and does not end with one.
    package private(set) var chroot = ""

    /// Throws a message for people.
    package init(_ text: String) throws(ZooKeeperServersError) {
        let slash = text.firstIndex(of: "/") ?? text.endIndex
        for server in text[..<slash].split(separator: ",", omittingEmptySubsequences: false) {
            guard let address = Self.address(Self.trimmed(server)) else {
                throw ZooKeeperServersError(
                    description: "zookeeper names a server as \"\(server)\": write host:port, with commas between servers and IPv6 addresses in brackets")
            }
            self.addresses.append(address)
        }
        let path = String(text[slash...])
        guard path.count > 1 else { return }
        if let fault = Self.fault(of: path) {
            throw ZooKeeperServersError(description: "zookeeper has the path \(path) after its servers: \(fault)")
        }
        self.chroot = path
    }

    /// The servers in the C client's format: an IPv6 address has no brackets, and the port follows the last colon.
    package var clientText: String { self.addresses.map { "\($0.host):\($0.port)" }.joined(separator: ",") }

    private static func trimmed(_ text: Substring) -> Substring {
        let from = text.drop { $0 == " " }
        return from.prefix(from.lastIndex { $0 != " " }.map { from.distance(from: from.startIndex, to: $0) + 1 } ?? 0)
    }

    private static func address(_ text: Substring) -> (host: String, port: UInt16)? {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let port = UInt16(digits), port > 0 else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.contains(":") else { return nil }
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "[") && $0 != UInt8(ascii: "]") }) else { return nil }
        return (String(host), port)
    }

    /// Why ZooKeeper would refuse the path. Nil if it is valid.
    private static func fault(of path: String) -> String? {
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        if parts.dropLast().contains("") || parts.allSatisfy(\.isEmpty) { return "\(path) has an empty part" }
        if parts.last == "" { return "\(path) ends with /" }
        if let part = parts.first(where: { $0 == "." || $0 == ".." }) { return "\(path) contains the part \(part), and ZooKeeper does not allow this part" }
        if parts.first == "zookeeper" { return "ZooKeeper reserves /zookeeper" }
        let isRefused = path.unicodeScalars.contains { scalar in
            switch scalar.value {
            case 0...0x1F, 0x7F...0x9F, 0xD800...0xF8FF, 0xFFF0...0xFFFF: true
            default: false
            }
        }
        return isRefused ? "it has a character that ZooKeeper does not allow" : nil
    }
}

/// Why a text does not name ZooKeeper servers, and what to write.
package struct ZooKeeperServersError: Error, CustomStringConvertible {
    package var description: String
}
