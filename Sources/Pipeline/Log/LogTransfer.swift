package import NIOCore
package import Partitioning

/// Moves the content of partitions to the log of their next owner. Only a log whose storage nodes do not share implements it: see ``Log/transfer``.
///
/// The former owner exports a partition in chunks of bounded size. The next owner stages them, and ``Log/seal(_:)`` under the next owner epoch takes over the
/// staged content if it is complete. So history, resumes and the detection of duplicates continue exactly. Without complete content of the owner epoch before,
/// the partition's channels begin new epochs, and subscribers get a gap notice. Positions, message ids and ages are transferred. Times are not, because the
/// steady clocks of two nodes differ.
///
/// The calls do not suspend, and hold the log's lock for one chunk.
package protocol LogTransfer: Sendable {
    /// Begins to export a partition. From now on, the log refuses commits under this grant. Nil if the partition is not sealed under this grant.
    func export(_ grant: Grant) -> (any LogExport)?

    /// Stages the next chunk of a partition's content.
    ///
    /// - Parameter grant: the sender's grant.
    func stage(_ chunk: ByteBuffer, of grant: Grant) -> LogStaging

    /// Removes what is staged under the sender's grant, unless it is complete: the other chunks will not arrive.
    func discard(_ grant: Grant)
}

/// The chunks of a partition's content, in order.
package protocol LogExport: Sendable {
    /// Nil after the last chunk.
    mutating func next() -> ByteBuffer?
}

/// What is staged of a partition's content after a chunk.
package enum LogStaging: Hashable, Sendable {
    /// Chunks are missing.
    case incomplete
    /// Everything is staged. It is kept for a while, until the partition is sealed under the next owner epoch.
    case complete
    /// The content is not accepted, for this reason. Nothing is staged. An export may begin again with its first chunk.
    case refused(String)
}
