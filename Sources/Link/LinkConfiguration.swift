package import Sockets

/// The address that peers connect to, and how links are authenticated.
package struct LinkConfiguration: Sendable {
    package var address: ListenAddress
    var secret: LinkSecret?
    /// Each side presents its certificate and checks the other's against the cluster's authority.
    var tls: LinkTLS?
    package var limits = LinkLimits()

    package init(_ address: ListenAddress, secret: LinkSecret? = nil) {
        self.address = address
        self.secret = secret
    }

    /// Throws a message for a person if a file cannot be used.
    package mutating func useTLS(certificate: String, key: String, authority: String) throws(LinkError) {
        self.tls = try LinkTLS(certificate: certificate, key: key, authority: authority)
    }

    /// Whether peers are authenticated. Without it links must stay on loopback.
    var isAuthenticated: Bool { self.secret != nil || self.tls != nil }

    /// Why this node must not connect to that address. Nil if it may.
    func objection(to address: ListenAddress) -> String? {
        guard !self.isAuthenticated, !address.isLoopback else { return nil }
        return
            "\(address) is not on this machine, and without a secret or certificates any process there could act as a node: set link-secret-file, or link-cert, "
            + "link-key and link-ca"
    }
}
