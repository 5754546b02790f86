/// Whoever can be asked about the cluster: the one it is a member of, or the one that it is all by itself.
package protocol ClusterAsking: Sendable {
    /// How many partitions the channels of this cluster are spread over. 0 while it is not known.
    var partitionCount: Int { get async }

    /// Answers within a bounded time, whatever happens to the controller meanwhile.
    func ask(_ question: ClusterQuestion) async -> ClusterAnswer
}
