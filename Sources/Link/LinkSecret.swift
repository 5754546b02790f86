import Crypto

/// The secret that all nodes of a cluster share. It is never shown and never sent.
///
/// The secret authenticates nodes at the handshake. It neither encrypts nor authenticates later traffic, so links on an untrusted network need TLS.
package struct LinkSecret: Sendable, CustomStringConvertible {
    static let proofBytes = SHA256.byteCount
    /// A recorded proof allows guessing the secret offline, so short secrets are refused.
    package static let bytesMin = 16

    private let key: SymmetricKey

    package init(_ text: String) { self.key = SymmetricKey(data: Array(text.utf8)) }

    package var description: String { "<hidden>" }

    /// Proves to the peer that this side knows the secret: HMAC-SHA256 (RFC 2104) over the proving side and both hellos, with
    /// identities and nonces. So a proof is valid for one connection only, and cannot be reflected to its sender.
    func proof(by side: LinkDirection, hello: [UInt8], challenge: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Self.text(side, hello, challenge), using: self.key))
    }

    /// Whether the proof is valid for that side. Compares in constant time.
    func isProof(_ proof: [UInt8], by side: LinkDirection, hello: [UInt8], challenge: [UInt8]) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(proof, authenticating: Self.text(side, hello, challenge), using: self.key)
    }

    /// Includes the lengths, so that two different pairs of hello and challenge never have the same text.
    private static func text(_ side: LinkDirection, _ hello: [UInt8], _ challenge: [UInt8]) -> [UInt8] {
        Array("realertime link, \(side.rawValue), \(hello.count), \(challenge.count)\n".utf8) + hello + challenge
    }
}
