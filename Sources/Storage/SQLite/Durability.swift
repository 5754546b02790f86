/// What an acknowledged event survives.
package enum Durability: String, Sendable, CaseIterable {
    /// The process being killed at any moment. Losing power may lose the last moments; the next start then begins new epochs, so that
    /// subscribers are told.
    case process
    /// Losing power: every commit waits for the disk.
    case power
}
