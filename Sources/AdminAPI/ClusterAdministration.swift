/// What carries out operators' requests: the cluster that this node is a member of, or the one that it is by itself.
package protocol ClusterAdministration: Sendable {
    /// How many partitions the channels of this cluster are spread over. 0 while it is not known.
    var partitionCount: Int { get async }

    /// Responds within a bounded time, whatever happens to the controller meanwhile.
    func respond(to request: AdminRequest) async -> AdminResponse
}
