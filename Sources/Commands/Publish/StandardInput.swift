import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Reads a descriptor in chunks on its own thread, until the end of the input or a cancellation of the task.
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

    /// Nil at the end of the input. Empty if no data arrived for a while, so that the caller can check for a cancellation.
    private func chunk() throws -> [UInt8]? {
        var ready = pollfd(fd: self.descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&ready, 1, 100) > 0 else { return [] }
        var buffer = [UInt8](repeating: 0, count: 64 * 1024)
        let count = Self.read(self.descriptor, &buffer)
        if count < 0 {
            if errno == EINTR || errno == EAGAIN { return [] }
            throw CommandError(.critical, "Standard input cannot be read: \(String(cString: strerror(errno))).")
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
