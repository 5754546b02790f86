import NIOSSL

/// Where a node's links come in, and what makes them trusted.
struct LinkConfiguration: Sendable {
    var address: ListenAddress
    var secret: LinkSecret?
    /// Both or neither: each side shows its certificate and checks the other's against the cluster's authority.
    var serverTLS: NIOSSLContext?
    var clientTLS: NIOSSLContext?
    var limits = LinkLimits()

    init(_ address: ListenAddress, secret: LinkSecret? = nil) {
        self.address = address
        self.secret = secret
    }

    /// Throws a sentence for a person when a file cannot be used.
    mutating func useTLS(certificate: String, key: String, authority: String) throws(NodeError) {
        do {
            let chain = try NIOSSLCertificate.fromPEMFile(certificate).map { NIOSSLCertificateSource.certificate($0) }
            let privateKey = NIOSSLPrivateKeySource.privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
            let roots = NIOSSLTrustRoots.certificates(try NIOSSLCertificate.fromPEMFile(authority))
            var server = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: privateKey)
            server.trustRoots = roots
            // Whoever has a certificate of this authority is one of us; addresses change, and the hello says who it is.
            server.certificateVerification = .noHostnameVerification
            server.minimumTLSVersion = .tlsv13
            var client = TLSConfiguration.makeClientConfiguration()
            client.certificateChain = chain
            client.privateKey = privateKey
            client.trustRoots = roots
            client.certificateVerification = .noHostnameVerification
            client.minimumTLSVersion = .tlsv13
            self.serverTLS = try NIOSSLContext(configuration: server)
            self.clientTLS = try NIOSSLContext(configuration: client)
        } catch {
            throw NodeError("link-cert, link-key and link-ca cannot be used together: \(error). All three are PEM files")
        }
    }
}
