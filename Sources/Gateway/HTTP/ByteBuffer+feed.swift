import NIOCore

extension ByteBuffer {
    /// Adds the bytes of a read to a buffer that a parser has partly consumed.
    mutating func feed(_ bytes: ByteBuffer) {
        // This also releases the memory of a large request.
        if self.readableBytes == 0 {
            self = bytes
            return
        }
        // A write does not reuse the space of consumed bytes. If no read ends exactly at the end of a request, the buffer would grow until the connection
        // closes. Moving the unread bytes is cheap, because most of the buffer has been consumed.
        if self.readerIndex > self.readableBytes, self.readerIndex >= 4096 { self.discardReadBytes() }
        self.writeImmutableBuffer(bytes)
    }
}
