#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The text of a file that an option names. It may be a pipe (`<(…)`, `/dev/stdin`), whose size is not known before its end, and which is read once.
enum TextFile {
    /// A file whose first line is a secret is not larger: more is refused before it fills the memory, as from `/dev/zero`.
    static let bytesMax = 1 << 20

    /// Why a file has no text for us, as the end of a sentence.
    struct Unreadable: Error {
        let reason: String

        init(_ reason: String) { self.reason = reason }

        init(code: CInt) {
            switch code {
            case ENOENT, ENOTDIR: self.reason = "is not there"
            case EISDIR: self.reason = "cannot be read: it is a folder"
            case EACCES, EPERM: self.reason = "cannot be read: check who may"
            default: self.reason = "cannot be read: \(String(cString: strerror(code)))"
            }
        }
    }

    static func read(_ path: String) throws(Unreadable) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Unreadable(code: errno) }
        defer { close(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while true {
            let count = systemRead(file, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Unreadable(code: errno) }
            guard count > 0 else { break }
            guard bytes.count + count <= self.bytesMax else { throw Unreadable("is larger than \(self.bytesMax) bytes") }
            bytes += buffer[..<count]
        }
        guard let text = String(validating: bytes, as: UTF8.self) else { throw Unreadable("is not UTF-8 text") }
        return text
    }
}

/// `read` of the system: the name is taken inside ``TextFile``.
private func systemRead(_ file: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int { read(file, buffer, count) }
