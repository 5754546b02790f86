#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Reads a file that an option names. The file may be a pipe (`<(…)`, `/dev/stdin`): its size is unknown, and it can be read only once.
package enum TextFile {
    /// A larger file, such as `/dev/zero`, is refused before it fills the memory.
    package static let bytesMax = 1 << 20

    /// The reason why a file cannot be used, as the end of a sentence that begins with the file's name.
    package enum ReadError: Error, CustomStringConvertible {
        case missing(folder: String)
        case noText
        case tooLarge
        case refused(String)

        package var description: String {
            switch self {
            case .missing(let folder): "does not exist (a relative path starts at \(folder))"
            case .noText: "is not UTF-8 text"
            case .tooLarge: "is larger than \(TextFile.bytesMax) bytes"
            case .refused(let reason): "cannot be read: \(reason)"
            }
        }
    }

    /// The first line without its line end. Spaces are kept, because they can be part of a secret.
    package static func firstLine(of path: String) throws(ReadError) -> String {
        String(try self.read(path).prefix { $0 != "\n" && $0 != "\r\n" })
    }

    package static func read(_ path: String) throws(ReadError) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw self.readError(errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = systemRead(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw self.readError(errno) }
            guard count > 0 else { break }
            guard bytes.count + count <= self.bytesMax else { throw .tooLarge }
            bytes += buffer[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .noText }
        return text
    }

    private static func readError(_ code: CInt) -> ReadError {
        switch code {
        case ENOENT, ENOTDIR: .missing(folder: self.currentFolder)
        case EISDIR: .refused("it is a folder")
        case EACCES, EPERM: .refused("check its permissions")
        default: .refused(String(cString: strerror(code)))
        }
    }

    private static var currentFolder: String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(cString: path)
    }
}

/// The system's `read`. Inside ``TextFile`` the method `read` hides it.
private func systemRead(_ file: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int { read(file, buffer, count) }
