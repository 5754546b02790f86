import Dispatch
import Foundation
import NIOConcurrencyHelpers
import Pipeline

/// Writes a node's log and messages to standard error, on a separate thread.
///
/// The reader of standard error may stop reading: a pipe is full, or a terminal is paused. Then only this thread waits. No event loop, actor, callback or
/// shutdown ever waits for it. The descriptor stays blocking, because other processes share it.
final class DiagnosticStream: TextOutputStream, Sendable {
    static let standardError = DiagnosticStream(descriptor: 2)

    private struct State {
        var backlog: LineBacklog
        /// The thread is writing, or has been signalled to write.
        var isBusy = false
    }

    private let descriptor: CInt
    private let state: NIOLockedValueBox<State>
    private let wake = DispatchSemaphore(value: 0)

    init(descriptor: CInt, bytesMax: Int = FixedLimits.logBacklogBytesMax) {
        self.descriptor = descriptor
        self.state = NIOLockedValueBox(State(backlog: LineBacklog(bytesMax: bytesMax)))
        // If the reader has closed its end, a write must return an error. By default, SIGPIPE would end the process.
        signal(SIGPIPE, SIG_IGN)
        Thread.detachNewThread { self.run() }
    }

    /// Lines that were dropped.
    var dropped: UInt64 { self.state.withLockedValue { $0.backlog.dropped } }

    /// Writes complete lines. Returns immediately. May be called from any thread.
    func write(_ text: String) {
        let wasIdle = self.state.withLockedValue { state in
            state.backlog.append(text)
            defer { state.isBusy = true }
            return !state.isBusy
        }
        if wasIdle { self.wake.signal() }
    }

    /// Waits until all lines are written, or until the limit. Called before the process exits.
    func flush(within limit: Duration) {
        let deadline = ContinuousClock.now + limit
        while self.state.withLockedValue({ $0.isBusy }), ContinuousClock.now < deadline { usleep(1000) }
    }

    // MARK: - On the thread

    private func run() {
        while true {
            self.wake.wait()
            while let (missing, bytes) = self.next(), self.write(missing, bytes) {}
        }
    }

    private func next() -> (missing: Int, bytes: [UInt8])? {
        self.state.withLockedValue { state in
            let taken = state.backlog.take()
            if taken == nil { state.isBusy = false }
            return taken
        }
    }

    /// Returns false if a write fails. The unwritten bytes are dropped. The thread tries to write again when the next line arrives.
    private func write(_ missing: Int, _ bytes: [UInt8]) -> Bool {
        let unwritten = missing > 0 ? self.writeAll(Self.notice(missing).utf8.map(\.self)) : []
        let rest = unwritten.isEmpty ? self.writeAll(bytes) : bytes[...]
        guard !unwritten.isEmpty || !rest.isEmpty else { return true }
        self.state.withLockedValue { state in
            state.backlog.failed(unreported: unwritten.isEmpty ? 0 : missing, lost: LineBacklog.lines(rest))
            state.isBusy = false
        }
        return false
    }

    /// Returns the bytes that could not be written.
    private func writeAll(_ bytes: [UInt8]) -> ArraySlice<UInt8> {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Foundation.write(self.descriptor, $0.baseAddress, $0.count) }
            if count > 0 {
                rest = rest.dropFirst(count)
            } else if count < 0, errno == EAGAIN {
                // Another process has made the descriptor non-blocking.
                var descriptor = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&descriptor, 1, 1000)
            } else if count == 0 || errno != EINTR {
                break
            }
        }
        return rest
    }

    private static func notice(_ missing: Int) -> String {
        var seconds = time(nil)
        var parts = tm()
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 40)
        strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%S%z", &parts)
        let moment = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return "\(moment) warning realertime: lines=\(missing) [Node] lines of this log are missing here, because standard error could not be written\n"
    }
}
