/// Executes operators' requests. A member of a cluster passes them to the controller. A node without ZooKeeper executes them itself.
package protocol ClusterAdministration: Sendable {
    /// The number of partitions of this cluster. 0 while it is not known.
    var partitionCount: Int { get async }

    /// Returns within a bounded time, even if the controller fails meanwhile.
    func respond(to request: AdminRequest) async -> AdminResponse
}
