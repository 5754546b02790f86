/// How a subscriber is connected.
enum Transport: Int, CaseIterable {
    case sse, webSocket, longPoll, stream

    /// In metrics and JSON.
    var name: String {
        switch self {
        case .sse: "sse"
        case .webSocket: "websocket"
        case .longPoll: "longpoll"
        case .stream: "stream"
        }
    }
}

/// Totals of one loop's connections, +1 and −1 apart, so that they can be reconciled.
struct ConnectionStatistics: Sendable {
    /// Connections of the subscriber port, from accept to close.
    var accepted: UInt64 = 0
    var closed: UInt64 = 0
    var apiAccepted: UInt64 = 0
    var apiClosed: UInt64 = 0
    /// Subscriptions begun and ended, by ``Transport``.
    var opened: [UInt64] = Array(repeating: 0, count: Transport.allCases.count)
    var ended: [UInt64] = Array(repeating: 0, count: Transport.allCases.count)
    var refusedAtLimit: UInt64 = 0
    var apiRefusedAtLimit: UInt64 = 0
    /// Subscribers refused for now: 503, or 200 with a retry.
    var refusedSubscribers: UInt64 = 0
    /// Requests of pages whose origin is not allowed.
    var refusedOrigins: UInt64 = 0
    var badRequests: UInt64 = 0
    var timedOut: UInt64 = 0
    var stalled: UInt64 = 0
    var resumed: UInt64 = 0
    var drained: UInt64 = 0
    var apiRequests: UInt64 = 0

    /// A request was answered with an error.
    mutating func refused(_ status: HTTPStatus) {
        if (400..<500).contains(status.code) { self.badRequests += 1 }
    }

    static func += (left: inout ConnectionStatistics, right: ConnectionStatistics) {
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
