import Glibc

/// Sends lines of text between the coordinator and one worker over a socket pair. The worker may be a thread or a process.
struct LineLink: ~Copyable {
    let descriptor: Int32
    private(set) var isClosed = false
    private var incoming: [UInt8] = []
    private var outgoing: [UInt8] = []

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(self.descriptor) }

    /// Creates both ends of a link as non-blocking sockets.
    static func pair() throws(LoadError) -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw .failed("cannot create a socket pair for a worker (errno \(errno))") }
        return (ends[0], ends[1])
    }

    /// Adds a line to the queue. ``flush()`` sends the queue.
    mutating func put(_ line: String) {
        self.outgoing.append(contentsOf: line.utf8)
        self.outgoing.append(10)
        if self.outgoing.count > 60_000 { self.flush() }
    }

    /// Sends the queue. If the other side does not read for 30 s, the link counts as closed.
    mutating func flush() {
        var start = 0
        while start < self.outgoing.count, !self.isClosed {
            let sent = self.outgoing.withUnsafeBytes { send(self.descriptor, $0.baseAddress! + start, $0.count - start, Int32(MSG_NOSIGNAL)) }
            if sent > 0 {
                start += sent
            } else if errno == EAGAIN {
                var poller = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                if poll(&poller, 1, 30_000) == 0 { self.isClosed = true }
            } else if errno != EINTR {
                self.isClosed = true
            }
        }
        self.outgoing.removeAll(keepingCapacity: true)
    }

    /// The complete lines that have arrived since the last call.
    mutating func lines() -> [String] {
        self.receive()
        var lines: [String] = []
        var start = 0
        while let end = self.incoming[start...].firstIndex(of: 10) {
            lines.append(String(decoding: self.incoming[start..<end], as: UTF8.self))
            start = end + 1
        }
        self.incoming.removeFirst(start)
        return lines
    }

    private mutating func receive() {
        while !self.isClosed {
            let count = withUnsafeTemporaryAllocation(byteCount: 65_536, alignment: 1) { buffer in
                let count = recv(self.descriptor, buffer.baseAddress, buffer.count, 0)
                if count > 0 { self.incoming.append(contentsOf: buffer[0..<count]) }
                return count
            }
            if count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR) { self.isClosed = true }
            if count < 0, errno == EAGAIN { return }
        }
    }
}
