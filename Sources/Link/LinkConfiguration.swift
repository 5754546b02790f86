package import Sockets

/// Where a node's links come in, and what makes them trusted.
package struct LinkConfiguration: Sendable {
    package var address: ListenAddress
    var secret: LinkSecret?
    /// Each side shows its certificate and checks the other's against the cluster's authority.
    var tls: LinkTLS?
    package var limits = LinkLimits()

    package init(_ address: ListenAddress, secret: LinkSecret? = nil) {
        self.address = address
        self.secret = secret
    }

    /// Throws a sentence for a person when a file cannot be used.
    package mutating func useTLS(certificate: String, key: String, authority: String) throws(LinkError) {
        self.tls = try LinkTLS(certificate: certificate, key: key, authority: authority)
    }

    /// Whether a node can tell who it speaks to. One that cannot stays on its own machine.
    var isAuthenticated: Bool { self.secret != nil || self.tls != nil }

    /// Why this node must not speak to that address; nil when it may.
    func objection(to address: ListenAddress) -> String? {
        guard !self.isAuthenticated, !address.isLoopback else { return nil }
        return "\(address) is not on this machine, and without a secret or certificates anybody there could be a node: set link-secret-file, or link-cert, "
            + "link-key and link-ca"
    }
}
