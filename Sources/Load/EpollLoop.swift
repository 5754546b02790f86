import Glibc

/// A wrapper of one epoll descriptor. Level-triggered: one `recv` for each wake-up is enough, because unread data causes another wake-up.
struct EpollLoop: ~Copyable {
    static let readable: UInt32 = 0x001
    static let writable: UInt32 = 0x004

    let descriptor: Int32
    let capacity: Int
    private let events: UnsafeMutableRawPointer

    // The kernel packs its event structure on x86-64 only.
    #if arch(x86_64)
        private static let stride = 12
        private static let tokenOffset = 4
    #else
        private static let stride = 16
        private static let tokenOffset = 8
    #endif

    init(capacity: Int) {
        self.descriptor = LinuxCalls.epollCreate(Int32(O_CLOEXEC))
        precondition(self.descriptor >= 0, "epoll_create1 failed")
        self.capacity = capacity
        self.events = .allocate(byteCount: capacity * Self.stride, alignment: 16)
    }

    deinit {
        close(self.descriptor)
        self.events.deallocate()
    }

    func add(_ descriptor: Int32, token: UInt64, interest: UInt32) { self.control(1, descriptor, token, interest) }
    func change(_ descriptor: Int32, token: UInt64, interest: UInt32) { self.control(3, descriptor, token, interest) }

    /// Waits at most `nanoseconds`. Returns the number of events that ``token(_:)`` can read, or 0 after a signal.
    func wait(nanoseconds: UInt64) -> Int {
        var limit = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        return max(0, Int(LinuxCalls.epollWait(self.descriptor, self.events, Int32(self.capacity), &limit, nil)))
    }

    @inline(__always)
    func token(_ index: Int) -> UInt64 {
        self.events.loadUnaligned(fromByteOffset: index &* Self.stride &+ Self.tokenOffset, as: UInt64.self)
    }

    private func control(_ operation: Int32, _ descriptor: Int32, _ token: UInt64, _ interest: UInt32) {
        withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { event in
            event.storeBytes(of: interest, toByteOffset: 0, as: UInt32.self)
            event.storeBytes(of: token, toByteOffset: Self.tokenOffset, as: UInt64.self)
            _ = LinuxCalls.epollControl(self.descriptor, operation, descriptor, event.baseAddress)
        }
    }
}
