import Crypto

/// The secret that all nodes of a cluster share. Never shown, never sent.
///
/// It says who may be a node. It neither hides nor seals what goes over a link afterwards: where the network is not trusted, links need TLS.
package struct LinkSecret: Sendable, CustomStringConvertible {
    static let proofBytes = SHA256.byteCount
    /// A proof that was overheard can be tried against every secret.
    package static let bytesMin = 16

    private let key: SymmetricKey

    package init(_ text: String) { self.key = SymmetricKey(data: Array(text.utf8)) }

    package var description: String { "<hidden>" }

    /// Shows the other side of one connection that this side knows the secret: HMAC-SHA256 (RFC 2104) over the side that proves and everything both have said,
    /// identities and nonces. So a proof is good for one connection, and cannot be sent back to whoever made it.
    func proof(by side: LinkDirection, hello: [UInt8], challenge: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Self.text(side, hello, challenge), using: self.key))
    }

    /// Whether the proof is that side's. Takes as long wherever the two differ.
    func isProof(_ proof: [UInt8], by side: LinkDirection, hello: [UInt8], challenge: [UInt8]) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(proof, authenticating: Self.text(side, hello, challenge), using: self.key)
    }

    /// With lengths, so that no two pairs make one text.
    private static func text(_ side: LinkDirection, _ hello: [UInt8], _ challenge: [UInt8]) -> [UInt8] {
        Array("realertime link, \(side.rawValue), \(hello.count), \(challenge.count)\n".utf8) + hello + challenge
    }
}
