import NIOSSL

/// Mutual TLS 1.3 between nodes. A certificate of the cluster's authority proves that a process is a node. The hello names the node.
struct LinkTLS: Sendable {
    let server: NIOSSLContext
    let client: NIOSSLContext

    /// Reads three PEM files. Throws an error with a message for people.
    init(certificate: String, key: String, authority: String) throws(LinkError) {
        let chain = try Self.file("link-cert", certificate) { try NIOSSLCertificate.fromPEMFile(certificate) }
        let privateKey = try Self.file("link-key", key) { try NIOSSLPrivateKey(file: key, format: .pem) }
        let roots = try Self.file("link-ca", authority) { try NIOSSLCertificate.fromPEMFile(authority) }
        let sources = chain.map { NIOSSLCertificateSource.certificate($0) }
        var server = TLSConfiguration.makeServerConfiguration(certificateChain: sources, privateKey: .privateKey(privateKey))
        server.trustRoots = .certificates(roots)
        // Addresses change and names need not resolve, so neither is checked against the certificate.
        server.certificateVerification = .noHostnameVerification
        server.minimumTLSVersion = .tlsv13
        var client = TLSConfiguration.makeClientConfiguration()
        client.certificateChain = sources
        client.privateKey = .privateKey(privateKey)
        client.trustRoots = .certificates(roots)
        client.certificateVerification = .noHostnameVerification
        client.minimumTLSVersion = .tlsv13
        do {
            self.server = try NIOSSLContext(configuration: server)
            self.client = try NIOSSLContext(configuration: client)
        } catch {
            throw LinkError("link-cert \(certificate) and link-key \(key) cannot be used together: \(error)")
        }
    }

    private static func file<Value>(_ name: String, _ path: String, _ read: () throws -> Value) throws(LinkError) -> Value {
        do { return try read() } catch { throw LinkError("\(name) \(path) must be a PEM file that this process may read: \(error)") }
    }

    /// Explains a TLS failure to an operator.
    static func sentence(_ error: any Error) -> String {
        let text = "\(error)"
        let upper = text.uppercased().map { $0 == " " ? "_" : String($0) }.joined()
        if upper.contains("PEER_DID_NOT_RETURN_A_CERTIFICATE") { return "the peer presented no certificate: set link-cert, link-key and link-ca on the peer" }
        if upper.contains("CERTIFICATE_REQUIRED") { return "the peer requires a certificate of this node: set link-cert, link-key and link-ca on this node" }
        if upper.contains("CERTIFICATE_VERIFY_FAILED") { return "the peer's certificate is not from the authority in link-ca, or is not valid now" }
        // A certificate of another authority with the same name causes a decrypt error.
        if ["UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED", "DECRYPT_ERROR"].contains(where: { upper.contains("ALERT_" + $0) }) {
            return "the peer refuses this node's certificate: both certificates must be from one authority"
        }
        if upper.contains("WRONG_VERSION_NUMBER") || upper.contains("HTTP_REQUEST") {
            return "the peer does not use TLS and this node does: set link-cert, link-key and link-ca on all nodes, or on none"
        }
        return "TLS: \(text.prefix(300))"
    }
}
