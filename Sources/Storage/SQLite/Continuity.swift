import GRDB
import Pipeline

/// Notices that the end of the history may have been lost with the machine's power.
///
/// Commits of ``Durability/process`` are in the kernel's memory before they are on the disk. Killing the process loses none of them; losing power
/// may lose the last ones, although they were acknowledged and delivered. Going on from the stored heads would give their positions to other events,
/// and a subscriber who resumes would miss those without a word. So every channel begins a new epoch then.
///
/// The log leaves a mark with the machine's boot while it is open. A mark of another boot means that the log was open when the machine went down.
enum Continuity {
    /// Looks at the mark and leaves the one for this time. The caller has set commits to be synced.
    static func check(_ db: Database, durability: Durability, now: Int64) throws {
        let mark = try Meta.boot.read(db, as: String.self)
        let boot = BootID.current
        let isLost = mark != nil && boot != nil && mark != boot
        let newMark = durability == .process ? boot : nil
        guard isLost || mark != newMark else { return }
        try db.inTransaction(.immediate) {
            if isLost { try self.breakOff(db, now: now) }
            if let newMark { try Meta.boot.write(db, newMark) } else { try Meta.boot.remove(db) }
            return .commit
        }
    }

    /// What was committed is about to be synced: there is nothing to lose.
    static func close(_ db: Database) throws {
        try Meta.boot.remove(db)
    }

    /// Every epoch from now on is above all that were ever used. The rows stay until they are trimmed; nobody reads them.
    private static func breakOff(_ db: Database, now: Int64) throws {
        let floor = try Meta.epochFloor.read(db, as: Int64.self) ?? 0
        let used = try Int64.fetchOne(db, sql: "SELECT max(epoch) FROM (SELECT max(epoch) AS epoch FROM event UNION ALL SELECT max(epoch) FROM head)") ?? 0
        let next = max(floor + 1, used + 1, now)
        try Meta.epochFloor.write(db, next)
        try Meta.continuity.write(db, next)
        try db.execute(sql: "DELETE FROM head")
    }
}
