package import NIOCore
import NIOSSL

/// Deadlines and bounds of one connection to Redis.
package struct RedisClientSettings: Sendable {
    /// The time limit for resolving the name and opening the TCP connection.
    package var connectDeadline: TimeAmount = .seconds(2)
    /// The time limit from a request to its reply. The whole handshake, including the TLS handshake, has the same limit.
    package var deadline: TimeAmount = .seconds(2)
    /// Requests that wait for their replies.
    package var requestsMax = 1024
    /// Bytes of the requests that wait for their replies.
    package var bytesMax = 32 << 20
    /// A longer reply closes the connection.
    package var replyBytesMax = 64 << 20
    /// The first wait after a loss. It doubles with each failure. Each wait is shortened by up to half at random.
    package var backoffMin: TimeAmount = .milliseconds(50)
    package var backoffMax: TimeAmount = .seconds(2)
    /// Between two reads of ``RedisServerFacts`` on a connection that is ready. They also show that an idle connection is dead.
    /// A loss of data is noticed after this time at the latest: an eviction, or a replica that became a master while this connection stayed open.
    package var factsInterval: TimeAmount = .seconds(1)
    /// For a `rediss://` URL. Nil means the authorities of the system, and no client certificate.
    package var tls: RedisTLS?

    package init() {}
}

/// Certificates for a `rediss://` URL. The server's name or address is always checked against its certificate.
package struct RedisTLS: Sendable {
    let context: NIOSSLContext

    /// Reads PEM files. Throws a message for a person.
    ///
    /// - Parameters:
    ///   - authority: trusted instead of the system's authorities.
    ///   - certificate: shown to a server that asks for one, with its key.
    package init(authority: String? = nil, certificate: (path: String, key: String)? = nil) throws(RedisAddressError) {
        var configuration = TLSConfiguration.makeClientConfiguration()
        // A connection that is closed says goodbye and waits for the other side's. A silent server does not keep it longer than this.
        configuration.shutdownTimeout = .seconds(1)
        if let authority {
            configuration.trustRoots = .certificates(try Self.file("authority", authority) { try NIOSSLCertificate.fromPEMFile(authority) })
        }
        if let (path, key) = certificate {
            configuration.certificateChain = try Self.file("certificate", path) { try NIOSSLCertificate.fromPEMFile(path).map { .certificate($0) } }
            configuration.privateKey = .privateKey(try Self.file("key", key) { try NIOSSLPrivateKey(file: key, format: .pem) })
        }
        do { self.context = try NIOSSLContext(configuration: configuration) } catch {
            throw RedisAddressError("the certificate and the key for Redis cannot be used together: \(error)")
        }
    }

    private static func file<Value>(_ name: String, _ path: String, _ read: () throws -> Value) throws(RedisAddressError) -> Value {
        do { return try read() } catch {
            throw RedisAddressError("the \(name) for Redis, \(path), must be a PEM file that this process may read: \(error)")
        }
    }

    /// What a failure means for an operator.
    static func sentence(_ error: any Error) -> String {
        let text = "\(error)"
        let upper = text.uppercased().map { $0 == " " ? "_" : String($0) }.joined()
        if upper.contains("CERTIFICATE_VERIFY_FAILED") {
            return "its certificate is not from an authority that this node trusts, or is not valid now: give this node the authority's certificate"
        }
        if upper.contains("UNABLETOVALIDATECERTIFICATE") || upper.contains("HOSTNAME") {
            return "its certificate is for another name or address: use the name of the certificate in the URL"
        }
        if upper.contains("CERTIFICATE_REQUIRED") { return "it requires a certificate of this node: give this node a certificate and a key" }
        if ["UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED"].contains(where: { upper.contains("ALERT_" + $0) }) {
            return "it refuses this node's certificate"
        }
        if upper.contains("WRONG_VERSION_NUMBER") || upper.contains("UNCLEANSHUTDOWN") || upper.contains("EOFDURINGHANDSHAKE") {
            return "it does not use TLS on this port: use redis:// or the port for TLS"
        }
        return "TLS failed: \(text.prefix(300))"
    }
}
