package import NIOCore

/// One reply of Redis. Arrays are at most three levels deep, as those of `XRANGE`: ``RedisReplyReader`` refuses deeper ones.
package enum RedisReply: Sendable, Equatable {
    case null
    case integer(Int64)
    case status(String)
    case string(ByteBuffer)
    /// A code in capital letters, a space and a sentence, as `NOSCRIPT No matching script.`
    case error(String)
    case array([RedisReply])
}

extension RedisReply {
    /// The text of a string or a status.
    var text: String? {
        switch self {
        case .string(let bytes): String(buffer: bytes)
        case .status(let text): text
        case .null, .integer, .error, .array: nil
        }
    }

    /// The first word of an error.
    var errorCode: Substring? {
        guard case .error(let text) = self else { return nil }
        return text.prefix { $0 != " " }
    }
}
