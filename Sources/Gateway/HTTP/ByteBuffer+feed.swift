import NIOCore

extension ByteBuffer {
    /// Adds the bytes of a read to a buffer that a parser has partly consumed.
    mutating func feed(_ bytes: ByteBuffer) {
        // This also releases the memory of a large request.
        if self.readableBytes == 0 {
            self = bytes
            return
        }
        // A write does not reuse consumed space, and reads may never end at the end of a request. Without this line the buffer would grow with all bytes
        // of the connection. Moving the rest is cheap because most of the buffer has been consumed.
        if self.readerIndex > self.readableBytes, self.readerIndex >= 4096 { self.discardReadBytes() }
        self.writeImmutableBuffer(bytes)
    }
}
