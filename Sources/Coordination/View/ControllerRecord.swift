import JSON
package import Partitioning

/// The controller's record: `/controller`.
package struct ControllerRecord: Hashable, Sendable {
    package var process: ProcessID
    package var epoch: Int32
    /// The version of `/controller_epoch` after the election of this controller.
    /// A node removes this record's znode only if `/controller_epoch` has this version.
    var epochVersion: Int32
    /// The controller's link address. Nil if the controller runs an older version.
    package var link: String?
    package var api: String?
    var stat: ZooKeeperStat

    init?(json bytes: [UInt8], stat: ZooKeeperStat) {
        guard var object = try? JSONValue(bytes, named: "controller", bytesMax: 10_000).object(), let id = try? object.string("id", bytesMax: 64),
            let incarnation = try? object.integer("inc", in: 0...Int64.max), let epoch = try? object.integer("ce", in: 0...Int64(Int32.max)),
            let version = try? object.integer("ce_version", in: 0...Int64(Int32.max))
        else { return nil }
        self.process = ProcessID(id: id, incarnation: incarnation)
        self.epoch = Int32(epoch)
        self.epochVersion = Int32(version)
        self.link = try? object.optional("link")?.string(bytesMax: ClusterView.textBytesMax)
        self.api = try? object.optional("api")?.string(bytesMax: ClusterView.textBytesMax)
        self.stat = stat
    }

    package var id: String { self.process.id }
    package var incarnation: Int64 { self.process.incarnation }

    static func json(_ process: ProcessID, epoch: Int32, epochVersion: Int32, link: String, api: String) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("id", process.id)
            writer.field("inc", process.incarnation)
            writer.field("ce", epoch)
            writer.field("ce_version", epochVersion)
            writer.field("link", link)
            writer.field("api", api)
        }
        return writer.bytes
    }
}
