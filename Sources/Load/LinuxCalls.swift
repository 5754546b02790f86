import Glibc

/// Linux calls that the `Glibc` module does not export.
///
/// Each call is looked up by name once, so that the load tool needs no C target.
enum LinuxCalls {
    typealias EpollCreate = @convention(c) (Int32) -> Int32
    typealias EpollControl = @convention(c) (Int32, Int32, Int32, UnsafeMutableRawPointer?) -> Int32
    typealias EpollWait = @convention(c) (Int32, UnsafeMutableRawPointer, Int32, UnsafePointer<timespec>?, UnsafeRawPointer?) -> Int32
    typealias SetAffinity = @convention(c) (pid_t, Int, UnsafeRawPointer) -> Int32

    static let epollCreate: EpollCreate = unsafeBitCast(address(of: "epoll_create1"), to: EpollCreate.self)
    static let epollControl: EpollControl = unsafeBitCast(address(of: "epoll_ctl"), to: EpollControl.self)
    /// The variant with a timeout in nanoseconds. At 10,000 events per second the schedule needs sleeps shorter than a millisecond.
    static let epollWait: EpollWait = unsafeBitCast(address(of: "epoll_pwait2"), to: EpollWait.self)
    static let setAffinity: SetAffinity = unsafeBitCast(address(of: "sched_setaffinity"), to: SetAffinity.self)

    private static func address(of name: String) -> UnsafeMutableRawPointer {
        guard let address = dlsym(nil, name) else {
            preconditionFailure("The C library has no \(name): glibc 2.35 or later is needed")
        }
        return address
    }

    /// Pins the calling thread to one CPU.
    static func pin(toCPU cpu: Int) -> Bool {
        var mask = [UInt64](repeating: 0, count: 16)
        guard cpu >= 0, cpu < mask.count * 64 else { return false }
        mask[cpu / 64] = 1 << UInt64(cpu % 64)
        return mask.withUnsafeBytes { self.setAffinity(0, $0.count, $0.baseAddress!) == 0 }
    }
}
