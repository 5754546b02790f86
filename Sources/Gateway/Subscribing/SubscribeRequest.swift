import Pipeline

/// A subscriber's request, parsed. Pure.
struct SubscribeRequest {
    var transport: Transport
    var framing: Framing
    var channels: [(channel: ChannelName, start: SubscribeStart)]
    var resumes: Bool

    /// The paths and their transports.
    static let paths = "/ev/CHANNEL, /ws/CHANNEL, /lp/CHANNEL, /sub/CHANNEL and /healthz"

    /// Nil if the path is not a subscriber's.
    static func transport(of path: String) -> (Transport, channels: Substring)? {
        for (prefix, transport) in [("/ev/", Transport.sse), ("/ws/", .webSocket), ("/lp/", .longPoll), ("/sub/", .stream)] where path.hasPrefix(prefix) {
            return (transport, path.dropFirst(prefix.count))
        }
        return nil
    }

    init(_ transport: Transport, channels list: Substring, head: RequestHead, limits: Limits) throws(HTTPFailure) {
        self.transport = transport
        let framing = try Self.framing(transport, query: head.query)
        self.framing = head.isVersion11 ? framing.chunked : framing
        let since = try Self.since(head)
        self.channels = []
        self.resumes = false
        for segment in list.split(separator: "/", omittingEmptySubsequences: false) {
            guard self.channels.count < limits.channelsPerConnectionMax else {
                throw .badChannel("more than channels-per-connection-max, \(limits.channelsPerConnectionMax), channels; open another connection for the others")
            }
            let (channel, backlog) = try Self.channel(segment)
            guard !self.channels.contains(where: { $0.channel == channel }) else { throw .badChannel("\(channel) is listed twice") }
            // A cursor identifies its channels by this part of their hash.
            if let other = self.channels.first(where: { UInt32(truncatingIfNeeded: $0.channel.hash64) == UInt32(truncatingIfNeeded: channel.hash64) }) {
                throw .badChannel("\(other.channel) and \(channel) cannot share a connection, because a cursor could not tell them apart; open another for one")
            }
            if let position = since?.position(of: channel) {
                self.channels.append((channel, .after(position)))
                self.resumes = true
            } else {
                self.channels.append((channel, backlog.map { .backlog(min($0, limits.historyEventsMax)) } ?? .live))
            }
        }
        if case .position = since, self.channels.count > 1 {
            throw .badCursor("a position is of one channel: ask for that channel alone, or start from a cursor")
        }
        if since != nil, !self.resumes { throw .badCursor("the cursor holds none of these channels; start without it") }
    }

    /// The position from which a client resumes.
    private enum Since {
        case cursor(Cursor)
        /// Of the only requested channel.
        case position(Position)

        func position(of channel: ChannelName) -> Position? {
            switch self {
            case .cursor(let cursor): cursor.position(of: channel)
            case .position(let position): position
            }
        }
    }

    /// `name` or `name.bN`.
    private static func channel(_ segment: Substring) throws(HTTPFailure) -> (ChannelName, Int?) {
        guard let decoded = PercentEncoding.decode(segment) else { throw .badChannel("a channel name has a broken %-escape") }
        var name = decoded
        var backlog: Int?
        if let start = ChannelName.backlogSuffixStart(Array(decoded.utf8)) {
            name = String(decoded.utf8.prefix(start)) ?? ""
            guard let count = Int(decoded.utf8.dropFirst(start + 2).map { String(UnicodeScalar($0)) }.joined()) else {
                throw .badChannel("the backlog after .b is too large a number")
            }
            backlog = count
        }
        guard let channel = ChannelName(name) else {
            throw .badChannel("a channel name is 1 to \(ChannelName.bytesMax) of A-Z a-z 0-9 _ . : -")
        }
        return (channel, backlog)
    }

    /// The cursor that a browser or a polyfill adds at a reconnect is newer than the one that the page wrote into the URL.
    private static func since(_ head: RequestHead) throws(HTTPFailure) -> Since? {
        var added = [head.field("last-event-id")]
        for name in Self.polyfillNames { added.append(try PercentEncoding.value(name, in: head.query)) }
        let written = try PercentEncoding.value("since", in: head.query)
        guard let text = added.compactMap({ $0 }).first(where: { !$0.isEmpty }) ?? written else { return nil }
        if let cursor = Cursor(text) { return .cursor(cursor) }
        if let position = Position(text) { return .position(position) }
        throw .badCursor("that is neither a cursor nor a position that this program gave out; start without Last-Event-ID and since")
    }

    /// Query parameters of EventSource polyfills that cannot send the header.
    private static let polyfillNames = ["lastEventId", "evs_last_event_id"]

    private static func framing(_ transport: Transport, query: String?) throws(HTTPFailure) -> Framing {
        switch transport {
        case .sse:
            switch try PercentEncoding.value("envelope", in: query) {
            case nil, "0": return .sse
            case "1": return .sseEnvelope
            default: throw .badRequest("envelope is 0 or 1")
            }
        case .webSocket: return .webSocket
        case .longPoll: return .element
        case .stream: return .line
        }
    }
}
