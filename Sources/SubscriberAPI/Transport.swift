/// How a subscriber receives events. The raw value is the short name in options of commands.
package enum Transport: String, CaseIterable, Sendable {
    case sse
    case webSocket = "ws"
    case longPoll = "lp"
    case stream

    /// The name in metrics and JSON.
    package var name: String {
        switch self {
        case .sse: "sse"
        case .webSocket: "websocket"
        case .longPoll: "longpoll"
        case .stream: "stream"
        }
    }

    /// The first segment of the paths that subscribers request.
    package var path: String {
        switch self {
        case .sse: "ev"
        case .webSocket: "ws"
        case .longPoll: "lp"
        case .stream: "sub"
        }
    }

    /// The index in `allCases`.
    package var index: Int {
        switch self {
        case .sse: 0
        case .webSocket: 1
        case .longPoll: 2
        case .stream: 3
        }
    }
}
