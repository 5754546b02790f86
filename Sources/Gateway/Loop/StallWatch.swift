import NIOCore

/// Tells a socket that is slow from one that takes nothing. Pure; small, because every connection has one.
struct StallWatch {
    /// The loop's second, and the bytes that waited, when the socket was last seen to take some. Nil while it takes all.
    private var last: (second: Int32, bytes: UInt32)?

    var isBlocked: Bool { self.last != nil }

    /// The socket takes no more, and so many bytes wait for it.
    mutating func block(at second: Int, waiting bytes: Int) {
        self.last = (Int32(truncatingIfNeeded: second), UInt32(clamping: bytes))
    }

    mutating func unblock() { self.last = nil }

    /// For how many seconds it has taken nothing. Fewer bytes waiting than when somebody last looked say that it took some.
    mutating func seconds(at second: Int, waiting bytes: Int) -> Int {
        guard let last else { return 0 }
        let now = Int32(truncatingIfNeeded: second)
        let bytes = UInt32(clamping: bytes)
        self.last = (bytes < last.bytes ? now : last.second, bytes)
        return Int(now - (bytes < last.bytes ? now : last.second))
    }
}

extension ChannelHandlerContext {
    /// Bytes written that the socket has not taken.
    var waitingBytes: Int { (try? self.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }
}
