import NIOCore

/// Allocates a buffer for each read, and keeps no buffer between reads.
///
/// NIO's allocators keep a buffer for every connection, which would double the memory of an idle subscriber. `nextBufferSize` stays nil, so that NIO does not
/// use its pool.
struct TransientReceiveAllocator: RecvByteBufferAllocator {
    private var capacity: Int
    private let capacityMax: Int

    init(capacity: Int, capacityMax: Int) {
        self.capacity = capacity
        self.capacityMax = capacityMax
    }

    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        allocator.buffer(capacity: self.capacity)
    }

    mutating func record(actualReadBytes: Int) -> Bool {
        guard actualReadBytes >= self.capacity, self.capacity < self.capacityMax else { return false }
        self.capacity = min(self.capacity * 4, self.capacityMax)
        return true
    }
}
