package import NIOCore

/// Stops a listening socket from accepting for a moment when the system has no descriptor or memory for another connection.
///
/// NIO's `AcceptBackoffHandler` delays the next `read()`, but a listener whose first accept fails still has its earlier `read()` pending, stays
/// registered for readability, and spins on the connection that waits in the backlog. Switching `autoRead` off takes it out of the selector.
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
