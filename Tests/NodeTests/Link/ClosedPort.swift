#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A port of 127.0.0.1 that is taken and refuses connections, as a bound socket that does not listen does. Nobody else can be given it meanwhile.
final class ClosedPort {
    let number: Int
    private let descriptor: Int32

    struct Failure: Error {
        var code: Int32
    }

    init() throws {
        #if canImport(Darwin)
            self.descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #elseif canImport(Musl)
            self.descriptor = socket(AF_INET, SOCK_STREAM, 0)
        #else
            self.descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = self.descriptor
        let result = withUnsafeMutableBytes(of: &address) { bytes in
            let pointer = bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self)
            return bind(descriptor, pointer, length) == 0 ? getsockname(descriptor, pointer, &length) : -1
        }
        guard result == 0 else { throw Failure(code: errno) }
        self.number = Int(UInt16(bigEndian: address.sin_port))
    }

    deinit { close(self.descriptor) }
}
