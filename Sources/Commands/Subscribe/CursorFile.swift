#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Keeps the cursor for the next run.
struct CursorFile: Sendable {
    /// How far the file may lag behind the printed events, if the process is killed.
    static let interval = Duration.milliseconds(200)

    var path: String

    /// Nil if there is no file yet.
    func load() throws -> String? {
        guard FileManager.default.fileExists(atPath: self.path) else { return nil }
        guard let text = try? String(contentsOfFile: self.path, encoding: .utf8) else {
            throw Failure(.critical, "The cursor file \(self.path) cannot be read: check who may read it.")
        }
        let cursor = text.trimming(\.isWhitespace)
        // Starting live would skip events silently: an existing file is supposed to hold a cursor.
        guard !cursor.isEmpty else {
            throw Failure(.critical, "The cursor file \(self.path) is empty, so where to go on is not known: remove it to start with what comes from now on.")
        }
        guard cursor.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), cursor.utf8.count <= 64 * 1024 else {
            throw Failure(.critical, "\(self.path) holds no cursor: choose another --cursor-file.")
        }
        return cursor
    }

    /// Replaces the file atomically, so that a crash leaves either the old or the new one.
    func save(_ cursor: String) throws {
        do {
            try Data("\(cursor)\n".utf8).write(to: URL(fileURLWithPath: self.path), options: .atomic)
        } catch {
            throw Failure(.critical, "The cursor file \(self.path) cannot be written: check that its folder is there and who may write it.")
        }
    }
}
