package import Sockets

/// The address that peers connect to, and how links are authenticated.
package struct LinkConfiguration: Sendable {
    package var address: ListenAddress
    var secret: LinkSecret?
    /// With mutual TLS, each side presents its certificate and checks the other side's certificate against the cluster's authority.
    var tls: LinkTLS?
    package var limits = LinkLimits()

    package init(_ address: ListenAddress, secret: LinkSecret? = nil) {
        self.address = address
        self.secret = secret
    }

    /// Throws an error with a message for people if a file cannot be used.
    package mutating func useTLS(certificate: String, key: String, authority: String) throws(LinkError) {
        self.tls = try LinkTLS(certificate: certificate, key: key, authority: authority)
    }

    /// Whether peers are authenticated. Without authentication, links are allowed only on loopback.
    var isAuthenticated: Bool { self.secret != nil || self.tls != nil }

    /// The reason why links must not use that address. Nil if they may use it.
    func objection(to address: ListenAddress) -> String? {
        guard !self.isAuthenticated, !address.isLoopback else { return nil }
        return
            "\(address) is not a loopback address; without a secret or certificates, any process on the network could act as a node; set link-secret-file, or "
            + "link-cert, link-key and link-ca"
    }
}
