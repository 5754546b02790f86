package import SubscriberAPI

/// A counter for each transport.
package struct TransportCounters: Sendable {
    private var counts = [UInt64](repeating: 0, count: Transport.allCases.count)

    package internal(set) subscript(transport: Transport) -> UInt64 {
        get { self.counts[transport.index] }
        set { self.counts[transport.index] = newValue }
    }

    var total: UInt64 { self.counts.reduce(0, +) }

    static func += (left: inout TransportCounters, right: TransportCounters) {
        for index in left.counts.indices { left.counts[index] += right.counts[index] }
    }
}

/// Counters of one loop's connections. Opens and closes are counted separately, so that the counters can be checked against each other.
package struct ConnectionMetrics: Sendable {
    /// `accepted` and `closed` count connections of the subscriber port.
    package internal(set) var accepted: UInt64 = 0
    package internal(set) var closed: UInt64 = 0
    package internal(set) var apiAccepted: UInt64 = 0
    package internal(set) var apiClosed: UInt64 = 0
    /// `opened` and `ended` count subscriptions.
    package internal(set) var opened = TransportCounters()
    package internal(set) var ended = TransportCounters()
    package internal(set) var refusedAtLimit: UInt64 = 0
    package internal(set) var apiRefusedAtLimit: UInt64 = 0
    /// Subscribers that were refused temporarily, with 503 or with 200 and `retry:`.
    package internal(set) var refusedSubscribers: UInt64 = 0
    /// Requests from pages whose origin is not allowed.
    package internal(set) var refusedOrigins: UInt64 = 0
    package internal(set) var badRequests: UInt64 = 0
    package internal(set) var timedOut: UInt64 = 0
    package internal(set) var stalled: UInt64 = 0
    package internal(set) var resumed: UInt64 = 0
    package internal(set) var drained: UInt64 = 0
    package internal(set) var apiRequests: UInt64 = 0

    package init() {}

    /// Open subscriptions.
    package func current(_ transport: Transport) -> Int { Int(self.opened[transport] - self.ended[transport]) }

    static func += (left: inout ConnectionMetrics, right: ConnectionMetrics) {
        left.accepted += right.accepted
        left.closed += right.closed
        left.apiAccepted += right.apiAccepted
        left.apiClosed += right.apiClosed
        left.opened += right.opened
        left.ended += right.ended
        left.refusedAtLimit += right.refusedAtLimit
        left.apiRefusedAtLimit += right.apiRefusedAtLimit
        left.refusedSubscribers += right.refusedSubscribers
        left.refusedOrigins += right.refusedOrigins
        left.badRequests += right.badRequests
        left.timedOut += right.timedOut
        left.stalled += right.stalled
        left.resumed += right.resumed
        left.drained += right.drained
        left.apiRequests += right.apiRequests
    }
}
