#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Identifies one boot of the machine.
///
/// Within one boot, all written data is at least in the kernel's memory, even if the process was killed. After a new boot, only synced data is certain to
/// exist.
enum BootID {
    /// Nil if the system does not report it.
    static let current: String? = {
        #if canImport(Darwin)
            var length = 0
            guard sysctlbyname("kern.bootsessionuuid", nil, &length, nil, 0) == 0, length > 1 else { return nil }
            return withUnsafeTemporaryAllocation(byteCount: length, alignment: 1) { buffer in
                guard sysctlbyname("kern.bootsessionuuid", buffer.baseAddress, &length, nil, 0) == 0 else { return nil }
                return String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
            }
        #else
            let descriptor = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { buffer in
                let count = read(descriptor, buffer.baseAddress, buffer.count)
                return count > 0 ? String(decoding: buffer.prefix(count).prefix { $0 > UInt8(ascii: " ") }, as: UTF8.self) : nil
            }
        #endif
    }()
}
