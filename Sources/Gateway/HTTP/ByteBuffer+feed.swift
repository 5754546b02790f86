import NIOCore

extension ByteBuffer {
    /// Adds what a read brought to bytes of which a parser has consumed the first.
    mutating func feed(_ bytes: ByteBuffer) {
        // Also lets go of a large request's memory.
        if self.readableBytes == 0 {
            self = bytes
            return
        }
        // A write never takes back what is consumed, and reads need not ever end where a request does: without this the buffer would grow with all
        // that the connection has sent. Once most of it is consumed, moving the rest costs less than it frees.
        if self.readerIndex > self.readableBytes, self.readerIndex >= 4096 { self.discardReadBytes() }
        self.writeImmutableBuffer(bytes)
    }
}
