import NIOCore

/// Encoded pieces, one after another in one buffer. A piece is the frame or the body of one event.
struct FrameRun {
    var buffer: ByteBuffer
    /// The end of each piece. Empty for a single piece.
    private var ends: [UInt32] = []
    private let isSingle: Bool

    init(count: Int, capacity: Int) {
        self.buffer = ByteBufferAllocator().buffer(capacity: capacity)
        self.isSingle = count == 1
        if !self.isSingle { self.ends.reserveCapacity(count) }
    }

    /// The memory of this run, in bytes.
    var memoryBytes: Int { self.buffer.storageCapacity + ByteBuffer.objectBytes + (self.ends.isEmpty ? 0 : 32 + self.ends.capacity * 4) }

    mutating func endFrame() {
        if !self.isSingle { self.ends.append(UInt32(self.buffer.writerIndex)) }
    }

    func start(_ index: Int) -> Int { index == 0 ? 0 : Int(self.ends[index - 1]) }
    func end(_ index: Int) -> Int { self.isSingle ? self.buffer.writerIndex : Int(self.ends[index]) }

    func view(_ index: Int) -> ByteBufferView {
        self.buffer.viewBytes(at: self.start(index), length: self.end(index) - self.start(index))!
    }

    /// The pieces from `index` on that fit in `bytesMax`, at least one. Shares the storage if possible.
    func slice(from index: Int, bytesMax: Int) -> (buffer: ByteBuffer, count: Int) {
        let start = self.start(index)
        if self.isSingle || (index == 0 && self.buffer.writerIndex <= bytesMax) { return (self.buffer, self.isSingle ? 1 : self.ends.count) }
        var end = index
        while end + 1 < self.ends.count, Int(self.ends[end + 1]) - start <= bytesMax { end += 1 }
        let slice = self.buffer.getSlice(at: start, length: Int(self.ends[end]) - start)!
        // A slice that waits in a slow socket keeps the whole shared storage alive. So a small slice of a large run is copied.
        return (self.buffer.writerIndex > 2 * bytesMax ? ByteBuffer(bytes: slice.readableBytesView) : slice, end - index + 1)
    }
}
