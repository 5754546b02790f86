#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Stores the cursor in a file, so that the next run of the command resumes from it.
struct CursorFile: Sendable {
    /// The minimum time between two writes. If the process is killed, the file misses at most the events of this time.
    static let interval = Duration.milliseconds(200)

    var path: String

    /// Nil if there is no file yet.
    func load() throws -> String? {
        guard FileManager.default.fileExists(atPath: self.path) else { return nil }
        guard let text = try? String(contentsOfFile: self.path, encoding: .utf8) else {
            throw CommandError(.critical, "The cursor file \(self.path) cannot be read. Check the permissions of the file.")
        }
        let cursor = text.trimming(\.isWhitespace)
        // A start without a cursor would skip events without a message.
        guard !cursor.isEmpty else {
            throw CommandError(
                .critical, "The cursor file \(self.path) is empty, so the last position is unknown. To start with new events only, remove the file.")
        }
        guard cursor.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), cursor.utf8.count <= 64 * 1024 else {
            throw CommandError(.critical, "The file \(self.path) does not contain a cursor. Choose another --cursor-file.")
        }
        return cursor
    }

    /// Replaces the file atomically. After a crash the file contains either the old or the new cursor.
    func save(_ cursor: String) throws {
        do {
            try Data("\(cursor)\n".utf8).write(to: URL(fileURLWithPath: self.path), options: .atomic)
        } catch {
            throw CommandError(.critical, "The cursor file \(self.path) cannot be written. Check that the folder exists and can be written.")
        }
    }
}
