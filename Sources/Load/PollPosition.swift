import Glibc

/// The position after the last response. The next poll continues from it.
enum PollPosition: Equatable, Sendable {
    case start
    /// The field `cursor` of the response body. The next poll sends it as `?since=`.
    case cursor([UInt8])
    /// For other servers: the validators of the response. The next poll sends them as conditions.
    case validators(lastModified: [UInt8], etag: [UInt8])

    /// Reads a complete response. Nil if it contains no position.
    init?(response: UnsafeBufferPointer<UInt8>) {
        if let cursor = Self.lastCursor(response) {
            self = .cursor(cursor)
        } else if let modified = Self.header("\nlast-modified:", in: response) {
            self = .validators(lastModified: modified, etag: Self.header("\netag:", in: response) ?? [])
        } else {
            return nil
        }
    }

    /// Searches from the end, because the cursor is the last field of the response. The body may be split into chunks, so it is not read as JSON.
    private static func lastCursor(_ bytes: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        let key = Array(#""cursor":""#.utf8)
        var start = bytes.count - key.count
        while start >= 0 {
            if bytes[start] == key[0], memcmp(bytes.baseAddress! + start, key, key.count) == 0 {
                let value = bytes[(start + key.count)...]
                guard let end = value.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
                return Array(value[..<end])
            }
            start -= 1
        }
        return nil
    }

    private static func header(_ name: String, in bytes: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        let key = Array(name.utf8)
        var start = 0
        while start + key.count <= bytes.count {
            if bytes[start] == 10, bytes[(start + 1)..<(start + key.count)].elementsEqual(key.dropFirst(), by: { $0 | 0x20 == $1 | 0x20 }) {
                let value = bytes[(start + key.count)...].prefix { $0 != 13 && $0 != 10 }
                return Array(value.drop { $0 == 32 })
            }
            if bytes[start] == 10, start + 2 < bytes.count, bytes[start + 1] == 13 { return nil }
            start += 1
        }
        return nil
    }
}
