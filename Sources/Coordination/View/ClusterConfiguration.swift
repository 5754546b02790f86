import AdminAPI
package import JSON

/// The configuration shared by all nodes of a cluster: `/config`. A starting node that uses another hash, or does not support the protocol, does not join.
package struct ClusterConfiguration: Hashable, Sendable {
    package var clusterID: String
    /// Fixed when the cluster is created.
    package var partitionCount: Int
    /// How channels are mapped to partitions. Fixed when the cluster is created.
    package var hash: String
    /// The link protocol of all nodes. It may be raised only when every member supports the next protocol.
    package var activeProtocol: Int
    package var rebalance: RebalanceMode { didSet { self.rebalanceRemainder.remove("mode") } }
    /// Who paused rebalancing, for people. This and the note are empty while rebalancing is not paused.
    package private(set) var pausedBy = ""
    package private(set) var pauseNote = ""
    /// Pinned partitions, with the id of the node.
    package var pins: [Int: String]
    /// Incremented by every operator's change. A lower revision means that ZooKeeper has lost writes.
    package var revision: Int64 = 0
    /// Fields of a newer version, which are kept unchanged.
    package internal(set) var remainder = JSONRemainder()
    /// Fields of a newer version in the object `rebalance`. An unknown mode counts as paused until an operator sets the mode.
    private var rebalanceRemainder = JSONRemainder()

    package enum RebalanceMode: String, Hashable, Sendable, CaseIterable {
        case automatic
        /// The view's mode is maintenance: failover and drains continue.
        case paused
    }

    /// `xxh64(channel) mod partitions`, seed 0.
    package static let hashName = "xxh64-v1"
    package static let bytesMax = 1_000_000

    package init(
        clusterID: String, partitionCount: Int, hash: String = ClusterConfiguration.hashName, activeProtocol: Int = 1,
        rebalance: RebalanceMode = .automatic, pins: [Int: String] = [:]
    ) {
        self.clusterID = clusterID
        self.partitionCount = partitionCount
        self.hash = hash
        self.activeProtocol = activeProtocol
        self.rebalance = rebalance
        self.pins = pins
    }

    package mutating func pause(by: String, note: String) {
        self.rebalance = .paused
        self.pausedBy = by
        self.pauseNote = note
    }

    package mutating func resume() {
        self.rebalance = .automatic
        self.pausedBy = ""
        self.pauseNote = ""
    }

    /// "requested by ann (upgrade)". Nil if rebalancing is not paused, or if there is neither a name nor a note.
    var pauseRequest: String? {
        self.rebalance == .paused && !(self.pausedBy.isEmpty && self.pauseNote.isEmpty) ? NodeRecord.request(by: self.pausedBy, note: self.pauseNote) : nil
    }

    /// Whether all fixed values are equal.
    func isOfSameCluster(as other: ClusterConfiguration) -> Bool {
        self.clusterID == other.clusterID && self.partitionCount == other.partitionCount && self.hash == other.hash
    }

    /// The cluster's identity as text for operators. Decisions do not use it.
    var identity: String { "\(self.clusterID) (\(self.partitionCount) partitions, hash \(self.hash))" }

    /// The operators' requests in this configuration, for people.
    var requests: String {
        let pins = self.pins.sorted { $0.key < $1.key }
        let pinned = pins.prefix(5).map { "\($0.key) to \($0.value)" }.joined(separator: ", ") + (pins.count > 5 ? " and \(pins.count - 5) more" : "")
        return "rebalancing is \(self.rebalance.rawValue), \(pins.isEmpty ? "no partition is pinned" : "pinned: \(pinned)")"
    }

    /// The protocol that a configuration requires, even if nothing else in it can be read.
    static func activeProtocol(in bytes: [UInt8]) -> Int? {
        guard var object = try? JSONValue(bytes, named: "config", bytesMax: ClusterConfiguration.bytesMax).object() else { return nil }
        return (try? object.integer("activeProto", in: 0...Int64(Int32.max))).map { Int($0) }
    }

    /// Throws a message that says what is wrong with the bytes.
    package init(json bytes: [UInt8]) throws(JSONError) {
        var object = try JSONValue(bytes, named: "config", bytesMax: ClusterConfiguration.bytesMax).object()
        self.init(
            clusterID: try object.string("clusterId", bytesMax: ClusterView.textBytesMax),
            partitionCount: Int(try object.integer("partitions", in: 1...Int64(ClusterView.partitionCountMax))),
            hash: try object.string("hash", bytesMax: ClusterView.textBytesMax),
            activeProtocol: Int(try object.integer("activeProto", in: 0...Int64(Int32.max))))
        var rebalance = try object.required("rebalance").object()
        var rebalanceRemainder = JSONRemainder()
        self.rebalance = try rebalance.name("mode", unknown: .paused, remainder: &rebalanceRemainder)
        self.pausedBy = try rebalance.optional("by")?.string(bytesMax: ClusterView.textBytesMax) ?? ""
        self.pauseNote = try rebalance.optional("note")?.string(bytesMax: NodeRecord.noteBytesMax) ?? ""
        rebalance.rest(into: &rebalanceRemainder)
        self.rebalanceRemainder = rebalanceRemainder
        try self.readPins(object.optional("pins"))
        self.revision = try object.optional("rev")?.integer(in: 0...Int64.max - ClusterView.headroom) ?? 0
        object.rest(into: &self.remainder)
    }

    private mutating func readPins(_ value: JSONValue?) throws(JSONError) {
        guard var pins = try value?.object() else { return }
        for name in pins.names {
            guard let partition = Int(name), String(partition) == name, (0..<self.partitionCount).contains(partition) else {
                throw JSONError("\(pins.name) has \(name.prefix(40).debugDescription), which is not a partition from 0 to \(self.partitionCount - 1)")
            }
            let id = try pins.string(name, bytesMax: 64)
            guard NodeID.isValid(id) else { throw JSONError("\(pins.name).\(name) is \(id.debugDescription), which is not a node's id") }
            self.pins[partition] = id
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.field("clusterId", self.clusterID)
            writer.field("partitions", self.partitionCount)
            writer.field("hash", self.hash)
            writer.field("activeProto", self.activeProtocol)
            writer.name("rebalance")
            writer.object { writer in
                if !self.rebalanceRemainder.contains("mode") { writer.field("mode", self.rebalance.rawValue) }
                if !self.pausedBy.isEmpty { writer.field("by", self.pausedBy) }
                if !self.pauseNote.isEmpty { writer.field("note", self.pauseNote) }
                writer.fields(self.rebalanceRemainder)
            }
            writer.name("pins")
            writer.object { writer in for (partition, id) in self.pins.sorted(by: { $0.key < $1.key }) { writer.field(String(partition), id) } }
            if self.revision > 0 { writer.field("rev", self.revision) }
            writer.fields(self.remainder)
        }
        return writer.bytes
    }
}
