package import Pipeline

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The exclusive use of a data folder by one process.
///
/// This is an advisory lock on the file `lock`. The kernel releases the lock when the process ends, so a killed node leaves nothing to clean up. The file
/// contains the holder's process id, for people; only the lock itself counts.
package final class FolderLock: Sendable {
    private let descriptor: CInt
    let path: String

    /// Creates the folder if it is missing, and locks it.
    package init(folder: String) throws(LogError) {
        try FolderLock.create(folder)
        let path = FolderLock.path(folder) + "/lock"
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw LogError(
                .unusable, "cannot write in the data folder \(folder) (\(systemMessage())): give this user write permission, or choose another folder")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno
            let holder = FolderLock.holder(descriptor)
            close(descriptor)
            guard code == EWOULDBLOCK else {
                throw LogError(.unusable, "cannot lock the data folder \(folder) (\(systemMessage(code))): choose a folder on a local disk")
            }
            throw LogError(.unusable, "the data folder \(folder) is in use by \(holder): stop that process, or choose another folder")
        }
        self.descriptor = descriptor
        self.path = path
        let text = "\(getpid())\n"
        _ = ftruncate(descriptor, 0)
        _ = text.utf8.withContiguousStorageIfAvailable { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
    }

    deinit {
        close(self.descriptor)
    }

    private static func holder(_ descriptor: CInt) -> String {
        let text = withUnsafeTemporaryAllocation(byteCount: 20, alignment: 1) { buffer in
            String(decoding: buffer.prefix(max(0, pread(descriptor, buffer.baseAddress, buffer.count, 0))), as: UTF8.self)
        }
        let digits = text.prefix { $0.isNumber }
        return digits.isEmpty ? "another process" : "process \(digits)"
    }

    /// The folder in a form that the system and SQLite read in the same way. SQLite treats a name that begins with `file:` as a URI.
    static func path(_ folder: String) -> String {
        let path = folder.hasPrefix("/") || folder.hasPrefix(".") ? folder : "./" + folder
        return path.hasSuffix("/") && path.utf8.count > 1 ? self.path(String(path.dropLast())) : path
    }

    /// `mkdir -p`. The last folder is accessible to this user only, because payloads may be private.
    private static func create(_ folder: String) throws(LogError) {
        let path = self.path(folder)
        var information = stat()
        if stat(path, &information) == 0 {
            guard information.st_mode & S_IFMT == S_IFDIR else {
                throw LogError(.unusable, "\(folder) is not a folder: move it away, or choose another data folder")
            }
            return
        }
        var parent = ""
        for part in path.split(separator: "/", omittingEmptySubsequences: false).dropLast() {
            parent += part + "/"
            _ = mkdir(parent, 0o755)
        }
        guard mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw LogError(.unusable, "cannot create the data folder \(folder) (\(systemMessage())): create it for this user, or choose another folder")
        }
    }
}

/// The system's message about the last failed call.
func systemMessage(_ code: CInt = errno) -> String { String(cString: strerror(code)) }
