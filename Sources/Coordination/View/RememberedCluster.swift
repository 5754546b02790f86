package import JSON

/// A node's stored knowledge of its cluster, in case all nodes restart and ZooKeeper has lost its data.
///
/// The node's decisions depend on ZooKeeper, not on this file. The file contains the cluster that the node belongs to, the numbers that new numbers must
/// exceed, and operators' requests.
package struct RememberedCluster: Hashable, Sendable {
    /// The cluster's name in ZooKeeper.
    package var cluster: String
    package var configuration: ClusterConfiguration
    /// The newest view that this node had. It contains the operators' request for each node.
    package var view: ClusterView?
    /// No owner epoch in use is above this number. The number is raised long before owner epochs reach it.
    package var reservedOwnerEpoch: Int64

    /// Enough for a view, a configuration and the other fields.
    package static let bytesMax = ClusterView.bytesMax + ClusterConfiguration.bytesMax + 10_000
    private static let format: Int64 = 1

    init(cluster: String, configuration: ClusterConfiguration, view: ClusterView?, reservedOwnerEpoch: Int64) {
        self.cluster = cluster
        self.configuration = configuration
        self.view = view
        self.reservedOwnerEpoch = reservedOwnerEpoch
    }

    /// Throws a message that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONError) {
        var object = try JSONValue(bytes, named: "cluster", bytesMax: RememberedCluster.bytesMax).object()
        let format = try object.integer("format", in: 0...Int64.max)
        guard format == Self.format else { throw JSONError("cluster.format is \(format), and this version reads \(Self.format)") }
        self.init(
            cluster: try object.string("cluster", bytesMax: 64),
            configuration: try ClusterConfiguration(json: Array(try object.required("config").text.utf8)),
            view: try object.optional("view").map { (value) throws(JSONError) in try ClusterView(json: Array(value.text.utf8)) },
            reservedOwnerEpoch: try object.integer("reserved", in: 0...ClusterView.ownerEpochMax - ClusterView.headroom))
    }

    func json() throws(JSONError) -> [UInt8] {
        let view = try self.view?.json()
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("format", Self.format)
            writer.field("cluster", self.cluster)
            writer.field("reserved", self.reservedOwnerEpoch)
            writer.name("config")
            writer.raw(String(decoding: self.configuration.json, as: UTF8.self))
            if let view {
                writer.name("view")
                writer.raw(String(decoding: view, as: UTF8.self))
            }
        }
        return writer.bytes
    }
}

/// The node's storage for a ``RememberedCluster``.
package protocol ClusterMemoryStore: Sendable {
    /// Replaces the stored bytes, and returns when they are durable. Returns a message if that failed.
    func save(_ bytes: [UInt8]) async -> String?
}
