import Partitioning
import Pipeline

extension LogError {
    static func fenced(_ grant: Grant, by newer: OwnerEpoch) -> LogError {
        LogError(
            .fenced,
            "partition \(grant.partition) was sealed under owner epoch \(newer), which is newer than \(grant.ownerEpoch): another owner has taken over"
        )
    }

    /// The batch was sequenced by someone who does not know that the channel has gone on.
    static func overtaken(_ event: SequencedEvent, by head: Position) -> LogError {
        LogError(
            .fenced,
            "\(event.event.channel) stands at \(head), so \(event.position) is of an older epoch: seal the log and sequence the event again"
        )
    }

    /// An owner commits, and answers from history, only after it has sealed (I3).
    static let notSealed = LogError(.fenced, "the log was used before it was sealed: call seal first")
}
