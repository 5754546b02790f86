package import NIOCore

/// The sizes of slices of work on a loop, and the pauses between slices. A loop polls its sockets in each pause.
///
/// Operators set two sizes: ``Limits/passSubscribersMax`` and ``Limits/shutdownSliceConnections``.
package enum Slices {
    // MARK: pauses
    /// Pause between slices of work that no client waits for.
    package static let pause = TimeAmount.milliseconds(1)
    /// Pause between slices of deliveries, and after a full commit. Clients wait for the next slice.
    package static let deliveryPause = TimeAmount.microseconds(200)
    /// Pause between slices of chunks and feeds that a fanout drops. Shorter than ``pause``, so that a loop with 200,000 feeds keeps up.
    package static let tidyPause = TimeAmount.microseconds(500)
    /// Pause between slices of connections that a stopping node closes. In the pause the loop sends the last bytes of the slice.
    package static let closingPause = TimeAmount.milliseconds(10)
    /// Time between two steps in which a drained node asks subscribers to reconnect.
    package static let drainPause = TimeAmount.milliseconds(100)

    // MARK: sizes
    /// Sockets accepted in one turn of a loop, if enough descriptors are free. With NIO's default of 4, a loop polls after every four sockets. That halves the
    /// rate of accepted sockets when many clients reconnect together.
    package static let acceptsMax = 256
    /// Deadlines handled in one slice. A heartbeat is a write: ten thousand in one slice would block the loop for a tenth of a second.
    package static let deadlinesMax = 256
    /// Chunks and feeds that a fanout drops in one slice.
    package static let feedsMax = 256
    /// Channels or message ids that a sequencer visits in one slice.
    package static let channelsMax = 1024
}
