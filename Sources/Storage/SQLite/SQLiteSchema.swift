import GRDB
import Pipeline

/// The tables, and the check that a file belongs to this program.
enum SQLiteSchema {
    /// `Real`, stored in the file's header. `file(1)` shows it, and ``check(_:file:)`` compares it.
    static let applicationID = 0x5265_616C
    static let version = 1

    /// Rows are appended and deleted in order, so that a commit touches only the last pages, for any number of channels.
    ///
    /// `seq` has no AUTOINCREMENT: the log numbers the rows itself. The payload is last, so that a scan of the other columns does not read it.
    private static let tables = """
        CREATE TABLE event (
            seq INTEGER PRIMARY KEY, channel TEXT NOT NULL, epoch INTEGER NOT NULL, "offset" INTEGER NOT NULL, at INTEGER NOT NULL,
            type TEXT, message_id TEXT, payload BLOB NOT NULL
        );
        CREATE TABLE head (channel TEXT PRIMARY KEY, epoch INTEGER NOT NULL, "offset" INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE owner (partition INTEGER PRIMARY KEY, epoch INTEGER NOT NULL);
        CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
        PRAGMA application_id = \(applicationID);
        PRAGMA user_version = \(version);
        """

    /// Throws if the file belongs to another program or to a newer version. Reads a page or two.
    ///
    /// Every connection checks this before it changes anything, so that another program's file stays unchanged.
    static func check(_ db: Database, file: String) throws {
        let id = try Int.fetchOne(db, sql: "PRAGMA application_id") ?? 0
        let found = try Int.fetchOne(db, sql: "PRAGMA user_version") ?? 0
        if id == self.applicationID {
            guard found <= self.version else {
                throw LogError(
                    .unusable,
                    "\(file) was written by a newer version (its schema is \(found), this version supports \(self.version)): run the newer version, or choose another data folder"
                )
            }
            return
        }
        guard try id == 0 && self.isEmpty(db) else {
            throw LogError(.unusable, "\(file) is a database of another program: choose another data folder, or move the file away; nothing was changed")
        }
    }

    static func isEmpty(_ db: Database) throws -> Bool {
        try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_master") == 0
    }

    /// Creates the tables in an empty file. The epochs of its channels begin at `epochFloor`.
    static func createIfEmpty(_ db: Database, epochFloor: UInt64) throws {
        guard try self.isEmpty(db) else { return }
        try db.inTransaction(.immediate) {
            try db.execute(sql: self.tables)
            try Meta.epochFloor.write(db, Int64(bitPattern: epochFloor))
            return .commit
        }
    }
}

/// Values that the log stores about itself.
enum Meta: String {
    /// A channel without a head uses no epoch below this. Begins at the milliseconds since 1970 when the folder was created, so that
    /// cursors of another folder are not valid here.
    case epochFloor = "epoch_floor"
    /// Rows and heads with epochs below this belong to a history whose end was lost.
    case continuity
    /// The machine's boot in which the log was last opened with unsynced commits. Absent while the log is closed.
    case boot
    /// The number of attempts to write after a failure.
    case tries

    func read<Value: DatabaseValueConvertible>(_ db: Database, as: Value.Type = Value.self) throws -> Value? {
        try Value.fetchOne(db, sql: "SELECT value FROM meta WHERE key = ?", arguments: [self.rawValue])
    }

    func write(_ db: Database, _ value: some DatabaseValueConvertible) throws {
        try db.execute(
            sql: "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", arguments: [self.rawValue, value]
        )
    }

    func remove(_ db: Database) throws {
        try db.execute(sql: "DELETE FROM meta WHERE key = ?", arguments: [self.rawValue])
    }
}
