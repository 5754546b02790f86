import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Reads a descriptor on its own thread, chunk by chunk, until its end or until the task is cancelled.
struct StandardInput: Sendable {
    var descriptor: Int32 = STDIN_FILENO

    var isInteractive: Bool { isatty(self.descriptor) == 1 }

    func read(_ each: ([UInt8]) async throws -> Void) async throws {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let result: Result<Void, any Error>
        do {
            while !Task.isCancelled, let chunk = try await pool.runIfActive({ try self.chunk() }) {
                if !chunk.isEmpty { try await each(chunk) }
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        try await pool.shutdownGracefully()
        try result.get()
    }

    /// Nil means the end. Empty means that nothing arrived for a while: then check whether the task is cancelled.
    private func chunk() throws -> [UInt8]? {
        var ready = pollfd(fd: self.descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, 100) > 0 else { return [] }
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let count = Self.read(self.descriptor, &buffer)
        if count < 0 {
            if errno == EINTR || errno == EAGAIN { return [] }
            throw Failure(.critical, "Standard input cannot be read: \(String(cString: strerror(errno))).")
        }
        return count == 0 ? nil : Array(buffer[..<count])
    }

    private static func read(_ descriptor: Int32, _ buffer: inout [UInt8]) -> Int {
        buffer.withUnsafeMutableBytes { bytes in
            #if canImport(Glibc)
                Glibc.read(descriptor, bytes.baseAddress, bytes.count)
            #elseif canImport(Musl)
                Musl.read(descriptor, bytes.baseAddress, bytes.count)
            #else
                Darwin.read(descriptor, bytes.baseAddress, bytes.count)
            #endif
        }
    }
}
