import GRDB
import Pipeline

/// Detects that the end of the history may have been lost in a power cut.
///
/// Commits of ``Durability/process`` are in the kernel's memory before they are on the disk. Killing the process loses none of them. A power cut may lose the
/// last commits, although they were acknowledged and delivered. If the log continued from the stored heads, new events would get the positions of the lost
/// events, and a subscriber that resumes would silently miss the new events. So after a power cut every channel begins a new epoch.
///
/// While the log is open, it stores a mark with the id of the machine's boot. A mark of another boot means that the log was open when the machine went down.
enum Continuity {
    /// Checks the mark and stores the mark of this boot. The caller has enabled synced commits.
    ///
    /// Returns true if the end of the history may be lost.
    static func check(_ db: Database, durability: Durability, now: Int64) throws -> Bool {
        let mark = try Meta.boot.read(db, as: String.self)
        let boot = BootID.current
        let isLost = mark != nil && boot != nil && mark != boot
        let newMark = durability == .process ? boot : nil
        guard isLost || mark != newMark else { return false }
        try db.inTransaction(.immediate) {
            if isLost { try self.breakOff(db, now: now) }
            if let newMark { try Meta.boot.write(db, newMark) } else { try Meta.boot.remove(db) }
            return .commit
        }
        return isLost
    }

    /// Removes the mark. The caller then syncs all commits, so nothing can be lost.
    static func close(_ db: Database) throws {
        try Meta.boot.remove(db)
    }

    /// Deletes the heads and raises the epoch floor, so that every new epoch is above all epochs ever used. The old rows stay until they are trimmed; they are
    /// not read.
    private static func breakOff(_ db: Database, now: Int64) throws {
        let floor = try Meta.epochFloor.read(db, as: Int64.self) ?? 0
        let used = try Int64.fetchOne(db, sql: "SELECT max(epoch) FROM (SELECT max(epoch) AS epoch FROM event UNION ALL SELECT max(epoch) FROM head)") ?? 0
        let next = max(floor + 1, used + 1, now)
        try Meta.epochFloor.write(db, next)
        try Meta.continuity.write(db, next)
        try db.execute(sql: "DELETE FROM head")
    }
}
