#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The text of a file that an option names. It may be a pipe (`<(…)`, `/dev/stdin`), whose size is unknown until its end, and which can be read only once.
package enum TextFile {
    /// A larger file is not a configuration. It is refused before it fills the memory (`/dev/zero`).
    package static let bytesMax = 1 << 20

    /// Why a file's text cannot be used.
    package enum Unreadable: Error, CustomStringConvertible {
        case missing(folder: String)
        case noText
        case tooLarge
        case refused(String)

        package var description: String {
            switch self {
            case .missing(let folder): "is not there (relative paths begin at \(folder))"
            case .noText: "is not UTF-8 text"
            case .tooLarge: "is larger than \(TextFile.bytesMax) bytes"
            case .refused(let reason): "cannot be read: \(reason)"
            }
        }
    }

    /// The first line without its end. Nothing else is left out: a space is part of a secret.
    package static func firstLine(of path: String) throws(Unreadable) -> String {
        String(try self.read(path).prefix { $0 != "\n" && $0 != "\r\n" })
    }

    package static func read(_ path: String) throws(Unreadable) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw self.unreadable(errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = systemRead(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw self.unreadable(errno) }
            guard count > 0 else { break }
            guard bytes.count + count <= self.bytesMax else { throw .tooLarge }
            bytes += buffer[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .noText }
        return text
    }

    private static func unreadable(_ code: CInt) -> Unreadable {
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

/// The system's `read`: inside ``TextFile`` that name means its own function.
private func systemRead(_ file: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int { read(file, buffer, count) }
