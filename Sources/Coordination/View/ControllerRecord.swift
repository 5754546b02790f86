import JSON

/// The controller's record: `/controller`.
package struct ControllerRecord: Hashable, Sendable {
    package var id: String
    package var incarnation: Int64
    package var epoch: Int32
    /// The version of `/controller_epoch` that this controller made: a node that removes its znode checks that it is still this one's.
    var epochVersion: Int32
    /// The controller's link address. Nil from an older version.
    package var link: String?
    package var api: String?
    var stat: ZooKeeperStat

    init?(json bytes: [UInt8], stat: ZooKeeperStat) {
        guard var object = try? JSONValue(bytes, named: "controller", bytesMax: 10_000).object(), let id = try? object.string("id", bytesMax: 64),
            let incarnation = try? object.integer("inc", in: 0...Int64.max), let epoch = try? object.integer("ce", in: 0...Int64(Int32.max)),
            let version = try? object.integer("ce_version", in: 0...Int64(Int32.max))
        else { return nil }
        self.id = id
        self.incarnation = incarnation
        self.epoch = Int32(epoch)
        self.epochVersion = Int32(version)
        self.link = try? object.optional("link")?.string(bytesMax: ClusterView.textBytesMax)
        self.api = try? object.optional("api")?.string(bytesMax: ClusterView.textBytesMax)
        self.stat = stat
    }

    static func json(id: String, incarnation: Int64, epoch: Int32, epochVersion: Int32, link: String, api: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("id", id)
            writer.field("inc", incarnation)
            writer.field("ce", epoch)
            writer.field("ce_version", epochVersion)
            writer.field("link", link)
            writer.field("api", api)
        }
        return writer.bytes
    }
}
