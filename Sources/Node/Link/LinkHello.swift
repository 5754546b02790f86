import Crypto
import JSON

/// Who a node is to its peers.
struct LinkIdentity: Hashable, Sendable {
    var cluster: String
    var id: String
    var incarnation: Int64
    var protocols: ClosedRange<Int>
    var version: String
}

/// What one side says of itself when a link begins, and whom it takes the other side for.
struct LinkHello: Hashable, Sendable {
    static let bytesMax = 4096

    var identity: LinkIdentity
    /// The dialling side's alone: whom it means to reach.
    var to: String?
    var toIncarnation: Int64?
    /// Random, 16 bytes as hexadecimal digits: a proof is good for one connection.
    var nonce: String
    /// The answering side's proof that it knows the secret; empty without one.
    var proof: String = ""

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("cluster", self.identity.cluster)
            writer.field("id", self.identity.id)
            writer.field("inc", self.identity.incarnation)
            writer.name("proto")
            writer.array { writer in
                writer.integer(self.identity.protocols.lowerBound)
                writer.integer(self.identity.protocols.upperBound)
            }
            writer.field("version", self.identity.version)
            if let to = self.to { writer.field("to", to) }
            if let toIncarnation = self.toIncarnation { writer.field("to_inc", toIncarnation) }
            writer.field("nonce", self.nonce)
            writer.field("proof", self.proof)
        }
        return writer.bytes
    }

    init(identity: LinkIdentity, to: String? = nil, toIncarnation: Int64? = nil, nonce: String) {
        self.identity = identity
        self.to = to
        self.toIncarnation = toIncarnation
        self.nonce = nonce
    }

    init(json bytes: [UInt8]) throws(JSONFailure) {
        var object = try JSONValue(bytes, named: "hello", bytesMax: Self.bytesMax).object()
        let protocols = try object.required("proto").integers(in: 0...1_000_000, countMax: 2)
        guard protocols.count == 2, protocols[0] <= protocols[1] else { throw JSONFailure("hello.proto is not the least and the greatest protocol") }
        self.init(
            identity: LinkIdentity(
                cluster: try object.string("cluster", bytesMax: 100), id: try object.string("id", bytesMax: 64),
                incarnation: try object.integer("inc", in: 0...Int64.max), protocols: Int(protocols[0])...Int(protocols[1]),
                version: try object.string("version", bytesMax: 100)),
            to: try object.optional("to")?.string(bytesMax: 64), toIncarnation: try object.optional("to_inc")?.integer(in: 0...Int64.max),
            nonce: try object.string("nonce", bytesMax: 64))
        self.proof = try object.string("proof", bytesMax: 128)
    }
}

/// The secret that all nodes of a cluster share. Never shown, never sent.
struct LinkSecret: Sendable, CustomStringConvertible {
    private let key: SymmetricKey

    init(_ text: String) { self.key = SymmetricKey(data: Array(text.utf8)) }

    var description: String { "<hidden>" }

    /// Proves knowledge of the secret to the other side of one connection: HMAC-SHA256 (RFC 2104) over the role, both nonces and both identities, so that a
    /// proof can neither be used again nor sent back to whoever made it.
    func proof(of role: LinkDirection, dialler: LinkHello, answerer: LinkHello) -> String {
        var text = "\(role.rawValue)\n\(dialler.nonce)\n\(answerer.nonce)"
        for identity in [dialler.identity, answerer.identity] { text += "\n\(identity.cluster)\n\(identity.id)\n\(identity.incarnation)" }
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: self.key)
        return code.map { byte in String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }.joined()
    }

    /// In a time that does not depend on where the two differ.
    static func areEqual(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
