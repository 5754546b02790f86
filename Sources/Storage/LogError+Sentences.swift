import Partitioning
import Pipeline

extension LogError {
    static func fenced(_ grant: Grant, by newer: OwnerEpoch) -> LogError {
        LogError(
            .fenced,
            "partition \(grant.partition) was sealed under owner epoch \(newer), which is newer than \(grant.ownerEpoch): another node owns the partition now"
        )
    }

    /// The sequencer assigned the event's position from an outdated head of the channel.
    static func overtaken(_ event: SequencedEvent, by head: Position) -> LogError {
        LogError(
            .fenced,
            "the head of \(event.event.channel) is \(head), and \(event.position) has an older epoch: seal the partition again and sequence the event again"
        )
    }

    /// An owner commits and reads only after it has sealed the partition.
    static func notSealed(_ grant: Grant) -> LogError {
        LogError(.fenced, "\(grant) is not sealed in this log: call seal first")
    }

    /// The log in memory of a node that may not be an owner any more.
    static let sessionInDoubt = LogError(
        .unavailable, "this node's session with ZooKeeper may have ended, so another node may own the partition: publish again with the same message id")

    static let notSealed = LogError(.fenced, "the log was used before it was sealed: call seal first")
}
