import NIOCore

/// Distinguishes a slow socket from a socket that accepts no bytes. Pure. This type is small, because every connection has one value.
struct StallWatch {
    /// The second in which the socket last accepted bytes, and the number of waiting bytes at the last check. Nil while the channel is writable.
    private var last: (second: Int32, bytes: UInt32)?

    var isBlocked: Bool { self.last != nil }

    /// The socket accepts no more bytes, and `bytes` written bytes wait.
    mutating func block(at second: Int, waiting bytes: Int) {
        self.last = (Int32(truncatingIfNeeded: second), UInt32(clamping: bytes))
    }

    mutating func unblock() { self.last = nil }

    /// The number of seconds in which the socket has accepted no bytes. If fewer bytes wait than at the last check, the socket has accepted bytes since then.
    mutating func seconds(at second: Int, waiting bytes: Int) -> Int {
        guard let last else { return 0 }
        let now = Int32(truncatingIfNeeded: second)
        let bytes = UInt32(clamping: bytes)
        self.last = (bytes < last.bytes ? now : last.second, bytes)
        return Int(now - (bytes < last.bytes ? now : last.second))
    }
}

extension ChannelHandlerContext {
    /// Written bytes that the socket has not accepted.
    var waitingBytes: Int { (try? self.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0 }
}
