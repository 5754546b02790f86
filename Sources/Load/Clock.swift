import Glibc

/// The clocks of the load tool. All processes of a machine share one monotonic clock, so a payload can contain its send time.
enum Clock {
    @inline(__always)
    static func now() -> UInt64 { self.read(CLOCK_MONOTONIC) }

    /// The user and system time that the calling thread has used.
    static func threadCPU() -> UInt64 { self.read(CLOCK_THREAD_CPUTIME_ID) }

    /// The time during which the calling thread was ready to run but had no CPU. Zero if the kernel does not report it.
    static func threadRunDelay() -> UInt64 {
        guard let text = ProcFile.read("/proc/thread-self/schedstat") else { return 0 }
        let fields = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        return fields.count > 1 ? UInt64(fields[1]) ?? 0 : 0
    }

    static func nanoseconds(_ seconds: Double) -> UInt64 { UInt64(max(0, seconds) * 1e9) }

    static func sleep(nanoseconds: UInt64) {
        var rest = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        _ = nanosleep(&rest, nil)
    }

    @inline(__always)
    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
    }
}

/// Reads and writes small text files in `/proc`.
enum ProcFile {
    private static let bytesMax = 65_536

    /// Replaces bytes that are not UTF-8, because the name of a process may contain any bytes.
    static func read(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: self.bytesMax)
        let count = Glibc.read(file, &bytes, bytes.count)
        guard count >= 0 else { return nil }
        return String(decoding: bytes[0..<count], as: UTF8.self)
    }

    static func write(_ text: String, to path: String) {
        let file = open(path, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        defer { close(file) }
        _ = text.utf8.withContiguousStorageIfAvailable { Glibc.write(file, $0.baseAddress, $0.count) }
    }
}
