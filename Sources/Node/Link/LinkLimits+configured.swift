import Pipeline

extension LinkLimits {
    /// As an operator has set them. What a peer may hold back, or a reader leave unread, follows from that.
    init(_ limits: Limits) {
        self.init()
        self.frameBytesMax = limits.linkFrameBytesMax
        self.bufferedBytesMax = limits.linkBufferedBytesMax
        self.unreadBytesMax = max(self.unreadBytesMax, 2 * limits.linkBufferedBytesMax)
        self.heartbeatMilliseconds = limits.linkHeartbeatSeconds * 1000
        self.silenceMilliseconds = limits.linkSilenceSecondsMax * 1000
        self.stallMilliseconds = max(self.stallMilliseconds, 2 * self.silenceMilliseconds)
    }
}
