import Link
import Pipeline

extension LinkLimits {
    /// Sets the limits of links from the limits that operators set. A limit without a configuration key is derived from other limits, or keeps its default.
    ///
    /// - Parameter descriptors: the descriptors for all links together. Half of them are for accepted links.
    init(_ limits: Limits, descriptors: Int = .max) {
        self.init()
        self.incomingMax = max(1, min(self.incomingMax, descriptors / 2))
        self.unauthenticatedMax = max(1, min(self.unauthenticatedMax, self.incomingMax / 2))
        self.unauthenticatedPerAddressMax = max(1, min(self.unauthenticatedPerAddressMax, self.unauthenticatedMax / 2))
        self.frameBytesMax = limits.linkFrameBytesMax
        self.bufferedBytesMax = limits.linkBufferedBytesMax
        self.unreadBytesMax = max(self.unreadBytesMax, 2 * limits.linkBufferedBytesMax)
        self.heartbeatMilliseconds = limits.linkHeartbeatSeconds * 1000
        self.silenceMilliseconds = limits.linkSilenceSecondsMax * 1000
        self.stallMilliseconds = max(self.stallMilliseconds, 2 * self.silenceMilliseconds)
    }
}
