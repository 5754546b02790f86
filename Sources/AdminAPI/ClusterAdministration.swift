/// Executes operators' requests: the cluster that this node is a member of, or a node without ZooKeeper itself.
package protocol ClusterAdministration: Sendable {
    /// The number of partitions of this cluster. 0 while it is not known.
    var partitionCount: Int { get async }

    /// Returns within a bounded time, even if the controller fails meanwhile.
    func respond(to request: AdminRequest) async -> AdminResponse
}
