package import NIOCore

/// Pauses a listening socket for 200 ms when the system has no descriptor or memory for another connection.
///
/// NIO's `AcceptBackoffHandler` only delays the next `read()`. If the first accept of a listener fails, its earlier `read()` is still pending. The listener
/// stays registered for readability, and its loop spins on the connection that waits in the backlog. Switching `autoRead` off removes the listener from the
/// selector.
package final class AcceptPauseHandler: ChannelInboundHandler {
    package typealias InboundIn = any Channel

    static let pause = TimeAmount.milliseconds(200)

    package init() {}

    private var isPaused = false

    package func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard error is IOError else { return context.fireErrorCaught(error) }
        guard !self.isPaused else { return }
        self.isPaused = true
        let channel = context.channel
        try? channel.syncOptions?.setOption(.autoRead, value: false)
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.isPaused = false
            try? channel.syncOptions?.setOption(.autoRead, value: true)
        }
    }
}
