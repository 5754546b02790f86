package import JSON

/// A node's own record: the ephemeral znode `/members/<id>`. The controller reads it, and so does a starting node whose id is already in use.
package struct MemberRecord: Hashable, Sendable {
    /// `host:port` where other nodes reach the node's link.
    package var link: String
    /// `host:port` of its API.
    package var api: String
    package var zone: String
    package var weight: Double
    /// The program's version.
    package var version: String
    /// The supported link protocols.
    package var protocols: ClosedRange<Int>
    /// Random for each process. It shows whether an existing member znode was created by this process in a request whose reply was lost.
    package var nonce: String
    /// Milliseconds since 1970, for people.
    package var startedAt: Int64
    /// Fields of a newer version.
    package internal(set) var remainder = JSONRemainder()

    package static let bytesMax = 10_000

    package init(
        link: String, api: String, zone: String = "", weight: Double = 1, version: String, protocols: ClosedRange<Int>, nonce: String, startedAt: Int64
    ) {
        self.link = link
        self.api = api
        self.zone = zone
        self.weight = weight
        self.version = version
        self.protocols = protocols
        self.nonce = nonce
        self.startedAt = startedAt
    }

    /// Throws a message that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONError) {
        var object = try JSONValue(bytes, named: "member", bytesMax: MemberRecord.bytesMax).object()
        let protocols = try object.required("proto").integers(in: 0...Int64(Int32.max), countMax: 2)
        guard protocols.count == 2, protocols[0] <= protocols[1] else { throw JSONError("member.proto is not the lowest and the highest protocol") }
        self.init(
            link: try object.string("link", bytesMax: ClusterView.textBytesMax),
            api: try object.string("api", bytesMax: ClusterView.textBytesMax),
            zone: try object.optional("zone")?.string(bytesMax: ClusterView.textBytesMax) ?? "",
            weight: try object.required("weight").number(in: 0...ClusterView.weightMax),
            version: try object.string("version", bytesMax: ClusterView.textBytesMax),
            protocols: Int(protocols[0])...Int(protocols[1]),
            nonce: try object.string("nonce", bytesMax: ClusterView.textBytesMax),
            startedAt: try object.integer("startedAt", in: 0...Int64.max))
        object.rest(into: &self.remainder)
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("link", self.link)
            writer.field("api", self.api)
            writer.field("zone", self.zone)
            writer.field("weight", self.weight)
            writer.field("version", self.version)
            writer.name("proto")
            writer.array { writer in
                writer.integer(self.protocols.lowerBound)
                writer.integer(self.protocols.upperBound)
            }
            writer.field("nonce", self.nonce)
            writer.field("startedAt", self.startedAt)
            writer.fields(self.remainder)
        }
        return writer.bytes
    }
}
