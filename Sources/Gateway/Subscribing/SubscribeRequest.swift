import Pipeline
import SubscriberAPI

/// A subscriber's request, parsed. Pure.
struct SubscribeRequest {
    var transport: Transport
    var framing: Framing
    var channels: [(channel: ChannelName, start: SubscribeStart)]
    var resumes: Bool

    /// A stored array, because `allCases` allocates at each call.
    private static let transports = Transport.allCases

    static let paths = Transport.allCases.map { "/\($0.path)/CHANNEL" }.joined(separator: ", ") + " and /healthz"

    /// The transport and the channels of a path. Nil if the path is not a path for subscribers.
    static func transport(of path: String) -> (Transport, channels: Substring)? {
        guard path.utf8.first == UInt8(ascii: "/"), let slash = path.utf8.dropFirst().firstIndex(of: UInt8(ascii: "/")) else { return nil }
        let segment = path[..<slash].dropFirst()
        guard let transport = Self.transports.first(where: { segment == $0.path }) else { return nil }
        return (transport, path[path.utf8.index(after: slash)...])
    }

    init(_ transport: Transport, channels list: Substring, head: RequestHead, limits: Limits) throws(HTTPError) {
        self.transport = transport
        let framing = try Self.framing(transport, query: head.query)
        self.framing = head.isVersion11 ? framing.chunked : framing
        let since = try Self.since(head)
        self.channels = []
        self.resumes = false
        for segment in list.split(separator: "/", omittingEmptySubsequences: false) {
            guard self.channels.count < limits.channelsPerConnectionMax else {
                throw .badChannel("more than \(limits.channelsPerConnectionMax) channels (channels-per-connection-max); use several connections")
            }
            let (channel, backlog) = try Self.channel(segment)
            guard !self.channels.contains(where: { $0.channel == channel }) else { throw .badChannel("channel \(channel) occurs more than once; send it once") }
            // A cursor identifies each channel by these 32 bits of its hash.
            if let other = self.channels.first(where: { UInt32(truncatingIfNeeded: $0.channel.hash64) == UInt32(truncatingIfNeeded: channel.hash64) }) {
                throw .badChannel("a cursor cannot distinguish \(other.channel) from \(channel); use one connection for each")
            }
            if let position = since?.position(of: channel) {
                self.channels.append((channel, .after(position)))
                self.resumes = true
            } else {
                self.channels.append((channel, backlog.map { .backlog(min($0, limits.historyEventsMax)) } ?? .live))
            }
        }
        if case .position = since, self.channels.count > 1 {
            throw .badCursor("a position belongs to one channel; subscribe to only that channel, or send a cursor")
        }
        if since != nil, !self.resumes { throw .badCursor("the cursor contains none of these channels; subscribe without it") }
    }

    /// The position from which a client resumes.
    private enum Since {
        case cursor(Cursor)
        /// The position in the only requested channel.
        case position(Position)

        func position(of channel: ChannelName) -> Position? {
            switch self {
            case .cursor(let cursor): cursor.position(of: channel)
            case .position(let position): position
            }
        }
    }

    /// Parses `NAME` or `NAME.bN`.
    private static func channel(_ segment: Substring) throws(HTTPError) -> (ChannelName, Int?) {
        guard let decoded = PercentEncoding.decode(segment) else { throw .badChannel("a channel name has an invalid percent-encoding") }
        var name = decoded
        var backlog: Int?
        if let start = ChannelName.backlogSuffixStart(Array(decoded.utf8)) {
            name = String(decoded.utf8.prefix(start)) ?? ""
            guard let count = Int(decoded.utf8.dropFirst(start + 2).map { String(UnicodeScalar($0)) }.joined()) else {
                throw .badChannel("the number after .b is too large")
            }
            backlog = count
        }
        guard let channel = ChannelName(name) else {
            throw .badChannel("a channel name must be 1 to \(ChannelName.bytesMax) characters of A-Z a-z 0-9 _ . : -")
        }
        return (channel, backlog)
    }

    /// A cursor that a browser or a polyfill adds at a reconnect takes precedence: it is newer than the cursor that the page wrote into the URL.
    private static func since(_ head: RequestHead) throws(HTTPError) -> Since? {
        var added = [head.field("last-event-id")]
        for name in Self.polyfillNames { added.append(try PercentEncoding.value(name, in: head.query)) }
        let written = try PercentEncoding.value("since", in: head.query)
        guard let text = added.compactMap({ $0 }).first(where: { !$0.isEmpty }) ?? written else { return nil }
        if let cursor = Cursor(text) { return .cursor(cursor) }
        if let position = Position(text) { return .position(position) }
        throw .badCursor("Last-Event-ID or since is neither a cursor nor a position; subscribe without it")
    }

    /// Query parameters of EventSource polyfills that cannot send the header.
    private static let polyfillNames = ["lastEventId", "evs_last_event_id"]

    private static func framing(_ transport: Transport, query: String?) throws(HTTPError) -> Framing {
        switch transport {
        case .sse:
            switch try PercentEncoding.value("envelope", in: query) {
            case nil, "0": return .sse
            case "1": return .sseEnvelope
            default: throw .badRequest("the query parameter \"envelope\" must be 0 or 1")
            }
        case .webSocket: return .webSocket
        case .longPoll: return .element
        case .stream: return .line
        }
    }
}
