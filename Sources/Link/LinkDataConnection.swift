package import NIOCore
package import Partitioning
import Synchronization

/// Receives the frames of data connections. All calls for one connection come on its event loop: first `opened`, then frames in the order in which the peer
/// sent them, at last `closed`.
///
/// A connection that a peer opens again may be reported as opened before the former one is reported as closed, because they may be on different loops:
/// ``LinkDataConnection/session`` tells them apart.
package protocol LinkDataReceiver: Sendable {
    /// The peer is authenticated.
    func opened(_ connection: LinkDataConnection)
    /// `frame` is a slice of the bytes that were read. A receiver that keeps a small part of it for long copies that part.
    func received(_ frame: ByteBuffer, on connection: LinkDataConnection)
    /// All frames of one read of the socket have been passed on. What they caused can be sent now, together.
    func readCompleted(_ connection: LinkDataConnection)
    /// The peer has accepted enough of the waiting bytes: after ``LinkDataConnection/send(_:)`` returned false, frames can be sent again.
    func drained(_ connection: LinkDataConnection)
    func closed(_ connection: LinkDataConnection, _ loss: LinkLoss)
}

/// One authenticated data connection between two nodes, which both sides may send on. Bounded in bytes that wait for the peer's socket.
///
/// Frames that one thread sends arrive in that order, until the connection breaks. Frames that were sent and have not arrived by then are lost.
package final class LinkDataConnection: Sendable {
    package let peer: ProcessID
    /// Outgoing if this node dialled it.
    package let direction: LinkDirection
    /// Unique among all connections of this process.
    package let session: UInt64
    private let channel: any Channel
    private let bytesMax: Int
    private let frameBytesMax: Int
    /// Bytes that wait for the peer's socket.
    private let queued = Atomic<Int>(0)
    /// True if ``send(_:)`` refused a frame after the last call of ``LinkDataReceiver/drained(_:)``.
    private let hasRefused = Atomic<Bool>(false)
    private let viewVersion: @Sendable () -> Int64
    private let drained: @Sendable (LinkDataConnection) -> Void
    /// Bytes of received frames that the receiver still works on, on other loops.
    private let unfinished = Atomic<Int>(0)
    private let held = Atomic<Bool>(false)
    private let unfinishedMax: Int
    /// Makes the handler apply ``isHeld``. The handler reads the value on its loop, so that the last change counts, whatever the order of the calls.
    private let updateReading: @Sendable () -> Void

    init(
        peer: ProcessID, direction: LinkDirection, session: UInt64, channel: any Channel, limits: LinkLimits, viewVersion: @escaping @Sendable () -> Int64,
        updateReading: @escaping @Sendable () -> Void, drained: @escaping @Sendable (LinkDataConnection) -> Void
    ) {
        self.peer = peer
        self.direction = direction
        self.session = session
        self.channel = channel
        self.bytesMax = limits.bufferedBytesMax
        self.frameBytesMax = limits.frameBytesMax
        self.viewVersion = viewVersion
        self.drained = drained
        self.unfinishedMax = limits.bufferedBytesMax / 4
        self.updateReading = updateReading
    }

    /// The receiver has passed a part of a frame to another loop, and calls ``finished(_:)`` with the same number when that loop has handled it. Beyond a quarter of
    /// ``LinkLimits/bufferedBytesMax`` the connection is not read, so that a busy loop slows the peer instead of collecting its frames.
    package func passedOn(_ bytes: Int) {
        guard self.unfinished.wrappingAdd(bytes, ordering: .sequentiallyConsistent).newValue > self.unfinishedMax else { return }
        if !self.held.exchange(true, ordering: .sequentiallyConsistent) { self.updateReading() }
        // The last part may have been finished between the two steps.
        self.resumeIfFinished()
    }

    package func finished(_ bytes: Int) {
        self.unfinished.wrappingSubtract(bytes, ordering: .sequentiallyConsistent)
        self.resumeIfFinished()
    }

    /// Whether the connection must not be read.
    var isHeld: Bool { self.held.load(ordering: .sequentiallyConsistent) }

    private func resumeIfFinished() {
        guard self.held.load(ordering: .sequentiallyConsistent), self.unfinished.load(ordering: .sequentiallyConsistent) * 2 <= self.unfinishedMax else {
            return
        }
        if self.held.exchange(false, ordering: .sequentiallyConsistent) { self.updateReading() }
    }

    /// The connection's event loop.
    package var loop: any EventLoop { self.channel.eventLoop }

    package var queuedBytes: Int { self.queued.load(ordering: .relaxed) }

    /// Sends a frame, whose payload `write` appends to a buffer. May be called from any thread; on the connection's loop no thread is crossed.
    ///
    /// Returns false, and sends nothing, if too many bytes wait for the peer or the frame is too large. ``LinkDataReceiver/drained(_:)`` follows when an eighth of
    /// the limit is left. True does not guarantee delivery.
    ///
    /// - Parameter isBulk: a frame of which the peer can ask for the contents again. It may use a quarter of the space, so that other frames are seldom refused.
    package func send(isBulk: Bool = false, _ write: (inout ByteBuffer) -> Void) -> Bool {
        // One buffer, because each buffer of a write costs an allocation and an entry of the system call.
        var frame = self.channel.allocator.buffer(capacity: 512)
        LinkFrame.writeHead(.data, viewVersion: self.viewVersion(), payloadBytes: 0, into: &frame)
        write(&frame)
        let bytes = frame.readableBytes
        let payloadBytes = bytes - LinkFrame.lengthBytes - LinkFrame.headBytes
        guard payloadBytes <= self.frameBytesMax else { return false }
        LinkFrame.setLength(payloadBytes: payloadBytes, in: &frame)
        guard self.queued.wrappingAdd(bytes, ordering: .sequentiallyConsistent).newValue <= (isBulk ? self.bytesMax / 4 : self.bytesMax) else {
            self.hasRefused.store(true, ordering: .sequentiallyConsistent)
            self.left(bytes)
            return false
        }
        let promise = self.loop.makePromise(of: Void.self)
        // The system has accepted the bytes, or they were lost with the connection.
        promise.futureResult.whenComplete { _ in self.left(bytes) }
        if self.loop.inEventLoop {
            self.channel.writeAndFlush(frame, promise: promise)
        } else {
            self.loop.execute { [frame] in self.channel.writeAndFlush(frame, promise: promise) }
        }
        return true
    }

    private func left(_ bytes: Int) {
        guard self.queued.wrappingSubtract(bytes, ordering: .sequentiallyConsistent).newValue * 8 <= self.bytesMax else { return }
        guard self.hasRefused.load(ordering: .sequentiallyConsistent), self.hasRefused.exchange(false, ordering: .sequentiallyConsistent), self.channel.isActive
        else { return }
        self.loop.execute { self.drained(self) }
    }

    /// Closes the connection. A dialled one is dialled again.
    package func close() { self.channel.close(promise: nil) }
}
