import GRDB
import GRDBSQLite

/// A prepared statement from a connection's cache, bound and stepped without copies and without GRDB's values.
///
/// Used on its connection's queue only. Bound bytes must stay valid until ``reset()``.
struct RawStatement {
    private let statement: OpaquePointer
    private let connection: OpaquePointer

    init(_ db: Database, _ sql: String) throws {
        guard let connection = db.sqliteConnection else { throw DatabaseError(resultCode: .SQLITE_MISUSE, message: "the connection is closed") }
        self.statement = try db.cachedStatement(sql: sql).sqliteStatement
        self.connection = connection
    }

    /// Runs a statement without rows and without parameters.
    static func run(_ db: Database, _ sql: String) throws {
        let statement = try RawStatement(db, sql)
        defer { statement.reset() }
        _ = try statement.step()
    }

    // MARK: - Binding

    func bind(_ value: Int64, at index: CInt) {
        sqlite3_bind_int64(self.statement, index, value)
    }

    /// Binds null if the value is nil.
    func bind(_ text: UnsafeBufferPointer<UInt8>?, at index: CInt) {
        guard let text else {
            sqlite3_bind_null(self.statement, index)
            return
        }
        // SQLite treats a null pointer as null, and an empty buffer may have a null pointer.
        let start = text.baseAddress.map { UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self) }
        if let start { sqlite3_bind_text(self.statement, index, start, CInt(text.count), nil) } else { sqlite3_bind_text(self.statement, index, "", 0, nil) }
    }

    func bind(_ bytes: UnsafeRawBufferPointer, at index: CInt) {
        if bytes.isEmpty {
            sqlite3_bind_zeroblob(self.statement, index, 0)
        } else {
            sqlite3_bind_blob(self.statement, index, bytes.baseAddress, CInt(bytes.count), nil)
        }
    }

    // MARK: - Running

    /// Returns true if there is a row.
    func step() throws -> Bool {
        let code = sqlite3_step(self.statement)
        switch code {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default: throw DatabaseError(resultCode: ResultCode(rawValue: code), message: String(cString: sqlite3_errmsg(self.connection)))
        }
    }

    /// Resets the statement. Does not repeat an error that a step has thrown.
    func reset() {
        sqlite3_reset(self.statement)
    }

    // MARK: - Columns

    func int64(_ column: CInt) -> Int64 { sqlite3_column_int64(self.statement, column) }

    func isNull(_ column: CInt) -> Bool { sqlite3_column_type(self.statement, column) == SQLITE_NULL }

    /// The bytes of a text or blob, valid until the next step.
    func bytes(_ column: CInt) -> UnsafeRawBufferPointer {
        // Read the pointer before the length: reading the pointer may convert the value, which changes the length.
        let start = sqlite3_column_blob(self.statement, column)
        return UnsafeRawBufferPointer(start: start, count: Int(sqlite3_column_bytes(self.statement, column)))
    }

    func text(_ column: CInt) -> String? {
        self.isNull(column) ? nil : String(decoding: self.bytes(column), as: UTF8.self)
    }
}
