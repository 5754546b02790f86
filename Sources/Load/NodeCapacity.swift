import Glibc

/// How many subscribers a node accepts, from its own `/api/status`.
struct NodeCapacity: Equatable, Sendable {
    var used: Int
    var max: Int
    /// Its subscriber port.
    var port: UInt16

    var free: Int { Swift.max(0, self.max - self.used) }

    private static let responseBytesMax = 1 << 20
    private static let milliseconds: Int32 = 3000

    init(used: Int, max: Int, port: UInt16) {
        self.used = used
        self.max = max
        self.port = port
    }

    /// Nil if the text is not a node's status.
    init?(status text: String) {
        guard let start = text.firstRange(of: "\"subscribers\":{") else { return nil }
        let fields = text[start.upperBound...].prefix { $0 != "}" }
        func number(_ name: String) -> Int? {
            fields.firstRange(of: "\"\(name)\":").flatMap { Int(fields[$0.upperBound...].prefix { $0.isASCII && $0.isNumber }) }
        }
        guard let used = number("connections"), let max = number("connections_max"), max > 0,
            let listen = text.firstRange(of: "\"listen\":\""),
            let port = text[listen.upperBound...].prefix(while: { $0 != "\"" }).split(separator: ":").last.flatMap({ UInt16($0) })
        else { return nil }
        self.init(used: used, max: max, port: port)
    }

    /// Whether subscribers connect to the node that reported this capacity. Another address may be another node, or a load balancer for many nodes.
    func describes(_ subscribe: RequestTemplate, status: RequestTemplate) -> Bool {
        subscribe.host.lowercased() == status.host.lowercased() && subscribe.port == self.port
    }

    /// Requests the status of a node. Nil if it does not respond in time, or is not a node.
    static func of(_ status: RequestTemplate, headers: [String]) -> NodeCapacity? {
        guard let address = try? SocketAddress(host: status.host, port: status.port) else { return nil }
        let descriptor = address.connect(from: nil)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard self.wait(descriptor, POLLOUT), SocketAddress.pendingError(descriptor) == 0 else { return nil }
        var request = Array("GET ".utf8)
        status.appendPath(channels: EmptyCollection(), namePrefix: [], to: &request)
        let lines = ["Host: \(status.authority)", "Connection: close"] + headers
        request += Array((" HTTP/1.1\r\n" + lines.joined(separator: "\r\n") + "\r\n\r\n").utf8)
        guard Socket.send(request, to: descriptor) == request.count else { return nil }
        var response: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16_384)
        while response.count < self.responseBytesMax, self.wait(descriptor, POLLIN) {
            let count = read(descriptor, &buffer, buffer.count)
            guard count > 0 else { break }
            response += buffer[..<count]
        }
        return NodeCapacity(status: String(decoding: response, as: UTF8.self))
    }

    private static func wait(_ descriptor: Int32, _ events: Int32) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&poller, 1, self.milliseconds) > 0
    }
}
