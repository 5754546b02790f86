import GRDB
import Pipeline

/// Turns an SQLite error into a message that says what to change.
enum SQLiteFailure {
    /// - Parameter systemCode: the system's error number of the last failed call on a file; 0 if no call failed.
    static func logError(_ error: any Error, file: String, systemCode: CInt = 0) -> LogError {
        if let error = error as? LogError { return error }
        guard let error = error as? DatabaseError else { return LogError(.unavailable, "\(file): \(error)") }
        let reason = self.reason(error, systemCode: systemCode)
        switch error.resultCode {
        case .SQLITE_FULL:
            return LogError(.unavailable, "there is no space left for \(file)\(reason): free some space; publishing then continues by itself")
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return LogError(.unavailable, "another program has locked \(file)\(reason): close that program; publishing then continues by itself")
        case .SQLITE_READONLY, .SQLITE_PERM, .SQLITE_AUTH:
            return LogError(
                .unavailable, "\(file) cannot be written\(reason): give this user write permission, and check that its disk is not mounted read-only")
        case .SQLITE_CANTOPEN:
            return LogError(.unavailable, "\(file) cannot be opened\(reason): check that it is a file, and that this user may read and write it")
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            return LogError(
                .unusable,
                "\(file) is damaged or not a database\(reason): stop the node, then move the file and its -wal and -shm files away, or restore a backup; nothing was deleted"
            )
        case .SQLITE_IOERR:
            return LogError(.unavailable, "the disk failed on \(file)\(reason): check the disk; publishing continues by itself when the disk works again")
        default:
            return LogError(.unavailable, "SQLite failed on \(file)\(reason)")
        }
    }

    private static func reason(_ error: DatabaseError, systemCode: CInt) -> String {
        let system = systemCode == 0 ? "" : ", \(systemMessage(systemCode))"
        return " (\(error.message ?? "no message"), SQLite code \(error.extendedResultCode.rawValue)\(system))"
    }
}
