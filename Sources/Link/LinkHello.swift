import JSON
import Partitioning

/// The identity that each side sends when a link begins. The dialling side also sends the identity that it expects.
struct LinkHello: Hashable, Sendable {
    static let bytesMax = 4096
    private static let nameBytesMax = 100

    var identity: LinkIdentity
    /// The process that the dialling side expects.
    var to: ProcessID?
    /// What the dialling side wants the connection for.
    var use: LinkUse
    /// Random, so that no two connections begin with the same bytes.
    var nonce: String

    init(identity: LinkIdentity, to: ProcessID? = nil, use: LinkUse = .control, nonce: String) {
        self.identity = identity
        self.to = to
        self.use = use
        self.nonce = nonce
    }

    /// 32 random bytes of the system's secure generator, as hexadecimal digits.
    static func makeNonce() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<4).map { _ in
            let digits = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }

    var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("cluster", self.identity.cluster)
            writer.field("id", self.identity.process.id)
            writer.field("inc", self.identity.process.incarnation)
            writer.name("proto")
            writer.array { writer in
                writer.integer(self.identity.protocols.lowerBound)
                writer.integer(self.identity.protocols.upperBound)
            }
            writer.field("version", self.identity.version)
            if let to = self.to {
                writer.field("to", to.id)
                writer.field("to_inc", to.incarnation)
                writer.field("use", self.use.rawValue)
            }
            writer.field("nonce", self.nonce)
        }
        return writer.bytes
    }

    /// Throws if the bytes are not a hello. Unknown fields are ignored.
    init(json bytes: [UInt8]) throws(JSONError) {
        var object = try JSONValue(bytes, named: "hello", bytesMax: Self.bytesMax).object()
        let protocols = try object.required("proto").integers(in: 0...1_000_000, countMax: 2)
        guard protocols.count == 2, protocols[0] <= protocols[1] else { throw JSONError("hello.proto is not the lowest and the highest protocol version") }
        self.identity = LinkIdentity(
            cluster: try Self.name("cluster", &object),
            process: ProcessID(id: try Self.name("id", &object), incarnation: try object.integer("inc", in: 0...Int64.max)),
            protocols: Int(protocols[0])...Int(protocols[1]),
            version: try Self.name("version", &object))
        if let id = object.optional("to") {
            self.to = ProcessID(id: try id.string(bytesMax: Self.nameBytesMax), incarnation: try object.integer("to_inc", in: 0...Int64.max))
        }
        if let use = object.optional("use") {
            guard let known = LinkUse(rawValue: try use.string(bytesMax: Self.nameBytesMax)) else {
                throw JSONError("hello.use is not \(LinkUse.allCases.map(\.rawValue).joined(separator: " or "))")
            }
            self.use = known
        } else {
            self.use = .control
        }
        self.nonce = try object.string("nonce", bytesMax: 128)
        // The nonce protects the side that made it. This check only detects a broken peer.
        guard self.nonce.utf8.count >= 32 else { throw JSONError("hello.nonce is too short") }
    }

    /// Reads a name. The name must be printable, because it is logged before the peer is authenticated.
    private static func name(_ field: String, _ object: inout JSONObject) throws(JSONError) -> String {
        let name = try object.string(field, bytesMax: Self.nameBytesMax)
        guard !name.isEmpty, name.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { throw JSONError("hello.\(field) is not a printable name") }
        return name
    }
}
