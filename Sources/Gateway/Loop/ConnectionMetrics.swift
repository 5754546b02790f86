/// The transport of a subscriber.
package enum Transport: Int, CaseIterable, Sendable {
    case sse, webSocket, longPoll, stream

    /// The name in metrics and JSON.
    package var name: String {
        switch self {
        case .sse: "sse"
        case .webSocket: "websocket"
        case .longPoll: "longpoll"
        case .stream: "stream"
        }
    }
}

/// Totals of one loop's connections. Opens and closes are counted separately, so that they can be reconciled.
package struct ConnectionMetrics: Sendable {
    /// Connections of the subscriber port, from accept to close.
    package internal(set) var accepted: UInt64 = 0
    package internal(set) var closed: UInt64 = 0
    package internal(set) var apiAccepted: UInt64 = 0
    package internal(set) var apiClosed: UInt64 = 0
    /// Subscriptions begun and ended, by ``Transport``.
    package internal(set) var opened: [UInt64] = Array(repeating: 0, count: Transport.allCases.count)
    package internal(set) var ended: [UInt64] = Array(repeating: 0, count: Transport.allCases.count)
    package internal(set) var refusedAtLimit: UInt64 = 0
    package internal(set) var apiRefusedAtLimit: UInt64 = 0
    /// Temporarily refused subscribers: 503, or 200 with a retry.
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

    static func += (left: inout ConnectionMetrics, right: ConnectionMetrics) {
        left.accepted += right.accepted
        left.closed += right.closed
        left.apiAccepted += right.apiAccepted
        left.apiClosed += right.apiClosed
        for index in left.opened.indices {
            left.opened[index] += right.opened[index]
            left.ended[index] += right.ended[index]
        }
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
