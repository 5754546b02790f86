import CZooKeeper

/// Proves to a server that a handle belongs to a session. Any process that has the identity can take over the session, and end it.
package struct ZooKeeperIdentity: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    package let session: Int64
    private let password: [UInt8]

    init(_ id: clientid_t) {
        self.session = id.client_id
        self.password = withUnsafeBytes(of: id.passwd) { Array($0) }
    }

    var clientID: clientid_t {
        var id = clientid_t()
        id.client_id = self.session
        withUnsafeMutableBytes(of: &id.passwd) { $0.copyBytes(from: self.password) }
        return id
    }

    package var description: String { "0x" + String(UInt64(bitPattern: self.session), radix: 16) }
    package var customMirror: Mirror { Mirror(self, children: ["session": self.session]) }
}
