extension LoadSettings {
    /// The part of a subscribe request between its path and the empty line at its end.
    var subscribeHeadLines: [UInt8] {
        var lines = ["Host: \(self.subscribe.authority)"]
        switch self.transport {
        case .ws:
            lines += ["Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        case .sse:
            if !Self.has("accept", in: self.subscribeHeaders) { lines.append("Accept: text/event-stream") }
        case .lp, .stream:
            break
        }
        lines += self.subscribeHeaders
        return Array((" HTTP/1.1\r\n" + lines.joined(separator: "\r\n") + "\r\n").utf8)
    }

    /// The part of a publish request before the payload. It is the same for all payloads.
    func publishHead(channel: Int) -> [UInt8] {
        let before = self.body(self.bodyPrefix, channel)
        let after = self.body(self.bodySuffix, channel)
        var bytes = Array("POST ".utf8)
        self.publish.appendPath(channels: CollectionOfOne(channel), namePrefix: self.channelPrefix, to: &bytes)
        var lines = ["Host: \(self.publish.authority)", "Content-Length: \(before.count + self.payloadBytes + after.count)"]
        if !Self.has("content-type", in: self.publishHeaders) { lines.append("Content-Type: application/json") }
        lines += self.publishHeaders
        bytes += Array((" HTTP/1.1\r\n" + lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        return bytes + before
    }

    func publishTail(channel: Int) -> [UInt8] { self.body(self.bodySuffix, channel) }

    private func body(_ pieces: [RequestTemplate.Piece], _ channel: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        for piece in pieces {
            switch piece {
            case .text(let text): bytes += text
            case .channels: bytes += self.channelPrefix; bytes.appendDecimal(channel)
            }
        }
        return bytes
    }

    private static func has(_ name: String, in headers: [String]) -> Bool {
        headers.contains { $0.lowercased().hasPrefix(name + ":") }
    }
}
