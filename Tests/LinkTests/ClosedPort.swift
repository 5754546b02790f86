import NIOCore

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
        let descriptor = socket(AF_INET, Self.stream, 0)
        let bound = try SocketAddress(ipAddress: "127.0.0.1", port: 0).withSockAddr { bind(descriptor, $0, socklen_t($1)) }
        // Bytes rather than fields: which module a field belongs to depends on what else was built first.
        var name = [UInt8](repeating: 0, count: 128)
        var length = socklen_t(name.count)
        let named = name.withUnsafeMutableBytes { bytes in
            getsockname(descriptor, bytes.baseAddress!.assumingMemoryBound(to: sockaddr.self), &length)
        }
        guard bound == 0, named == 0 else {
            let code = errno
            close(descriptor)
            throw Failure(code: code)
        }
        // The port follows two bytes that hold the family (and on Darwin the length), most significant byte first.
        self.number = Int(name[2]) << 8 | Int(name[3])
        self.descriptor = descriptor
    }

    deinit { close(self.descriptor) }

    private static var stream: Int32 {
        #if canImport(Glibc)
            Int32(SOCK_STREAM.rawValue)
        #else
            SOCK_STREAM
        #endif
    }
}
