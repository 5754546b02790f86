#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The text of a file that an option names. It may be a pipe (`<(…)`, `/dev/stdin`), whose size is not known before its end, and which is read once.
enum TextFile {
    /// More than this is no configuration: it is refused before it fills the memory, as from `/dev/zero`.
    static let bytesMax = 1 << 20

    /// Why a file has no text for us.
    enum Unreadable: Error, CustomStringConvertible {
        case missing(folder: String)
        case noText
        case tooLarge
        case refused(String)

        var description: String {
            switch self {
            case .missing(let folder): "is not there (relative paths begin at \(folder))"
            case .noText: "is not UTF-8 text"
            case .tooLarge: "is larger than \(TextFile.bytesMax) bytes"
            case .refused(let reason): "cannot be read: \(reason)"
            }
        }
    }

    static func read(_ path: String) throws(Unreadable) -> String {
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
        case EACCES, EPERM: .refused("check who may read it")
        default: .refused(String(cString: strerror(code)))
        }
    }

    private static var currentFolder: String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(cString: path)
    }
}

/// `read` of the system: the name is taken inside ``TextFile``.
private func systemRead(_ file: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int { read(file, buffer, count) }
