/// What an acknowledged event survives.
package enum Durability: String, Sendable, CaseIterable {
    /// Acknowledged events survive a kill of the process. A power cut may lose the last events; the next start then begins new epochs, so that
    /// subscribers get a gap notice.
    case process
    /// Acknowledged events survive a power cut too: every commit waits for the disk.
    case power
}
