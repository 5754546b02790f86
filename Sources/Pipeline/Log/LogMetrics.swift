/// A log's numbers and faults, for `status` and `/metrics`.
package struct LogMetrics: Sendable {
    /// `sqlite`, `memory` or `redis`.
    package var kind: String
    package var path: String?
    package var durability: String
    package var events: Int
    package var bytes: Int
    package var channels: Int
    package var commits: UInt64
    package var failures: UInt64
    /// Why nothing can be stored: the message of the last failure. Nil after a write has succeeded again.
    package var error: String?
    /// A problem that will become a failure if it is not repaired.
    package var warning: String?

    package init(
        kind: String, path: String?, durability: String, events: Int, bytes: Int, channels: Int, commits: UInt64, failures: UInt64, error: String?,
        warning: String? = nil
    ) {
        self.kind = kind
        self.path = path
        self.durability = durability
        self.events = events
        self.bytes = bytes
        self.channels = channels
        self.commits = commits
        self.failures = failures
        self.error = error
        self.warning = warning
    }
}
