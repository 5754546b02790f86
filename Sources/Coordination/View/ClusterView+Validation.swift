import AdminAPI
package import JSON
import Partitioning

extension ClusterView {
    /// ZooKeeper refuses a request above 1,048,575 bytes, and this limit leaves space for the headers. 16,384 partitions and 60 nodes need about 150 KB.
    package static let bytesMax = 1_000_000
    package static let nodeCountMax = 1000
    package static let partitionCountMax = Partitions.countMax
    /// Some stores handle owner epochs as doubles, which are exact up to this number.
    package static let ownerEpochMax: Int64 = 1 << 53 - 1
    /// The numbers in an accepted view are at least this far below their maximum, so that they can grow. No real cluster reaches such numbers.
    package static let headroom: Int64 = 1 << 20
    package static let weightMax = 1000.0
    /// The limit of addresses, zones, versions and writers.
    package static let textBytesMax = 300

    /// Throws a message about the contradiction. Called when a view is read, and before a view is written.
    package func validate() throws(JSONError) {
        guard (0...ClusterView.ownerEpochMax).contains(self.version) else { throw JSONError("version \(self.version) is out of range") }
        guard self.controllerEpoch >= 0 else { throw JSONError("controller epoch \(self.controllerEpoch) is negative") }
        guard (1...ClusterView.partitionCountMax).contains(self.partitions.count) else {
            throw JSONError("there are \(self.partitions.count) partitions, and 1 to \(ClusterView.partitionCountMax) are allowed")
        }
        try self.validateNodes()
        try self.validatePartitions()
    }

    private func validateNodes() throws(JSONError) {
        guard self.nodes.count <= ClusterView.nodeCountMax else {
            throw JSONError("there are \(self.nodes.count) nodes; the limit is \(ClusterView.nodeCountMax)")
        }
        for (index, node) in self.nodes.enumerated() {
            guard NodeID.isValid(node.id) else {
                throw JSONError("nodes[\(index)] has the id \(node.id.prefix(70).debugDescription), which is not 1 to 64 characters of A-Z a-z 0-9 _ . -")
            }
            guard node.weight.isFinite, (0...ClusterView.weightMax).contains(node.weight) else {
                throw JSONError("node \(node.id) has the weight \(node.weight), which is not from 0 to \(ClusterView.weightMax)")
            }
            guard index > 0 else { continue }
            guard self.nodes[index - 1].id != node.id else { throw JSONError("node \(node.id) is listed twice") }
            guard self.nodes[index - 1].id < node.id else { throw JSONError("node \(node.id) is listed after \(self.nodes[index - 1].id), out of order") }
        }
    }

    private func validatePartitions() throws(JSONError) {
        let ids = Set(self.nodes.map(\.id))
        var moves: [Int64: Int] = [:]
        for (index, partition) in self.partitions.enumerated() {
            if let owner = partition.owner, !ids.contains(owner) {
                throw JSONError("partition \(index) is owned by \(owner), which is not among the nodes")
            }
            guard (0...ClusterView.ownerEpochMax).contains(partition.ownerEpoch) else {
                throw JSONError("partition \(index) has the owner epoch \(partition.ownerEpoch), which is out of range")
            }
            guard let move = partition.move else { continue }
            guard move.id >= 0 else { throw JSONError("partition \(index) has a move with the negative id \(move.id)") }
            guard ids.contains(move.to) else { throw JSONError("partition \(index) moves to \(move.to), which is not among the nodes") }
            guard let owner = partition.owner else { throw JSONError("partition \(index) moves to \(move.to), but has no owner") }
            guard owner != move.to else { throw JSONError("partition \(index) moves to \(owner), which owns it already") }
            if let other = moves.updateValue(index, forKey: move.id) { throw JSONError("partitions \(other) and \(index) both have the move \(move.id)") }
        }
    }
}
