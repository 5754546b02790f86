package import NIOCore

extension EventLoop {
    /// Runs `body`, the next slice of a longer piece of work, after the loop has polled its sockets. Call this method on the loop.
    ///
    /// `execute` is not sufficient: NIO runs all runnable tasks before it polls again. The pause gives the tasks that are runnable now the time to finish. If they
    /// took longer than the pause, NIO would run `body` together with them, without a poll in between.
    package func afterSockets(pause: TimeAmount = Slices.pause, _ body: @escaping () -> Void) {
        self.assumeIsolated().scheduleTask(in: pause, body)
    }
}
