import Glibc
import JSON

/// The number of subscribers that a node accepts, from the node's `/api/status`.
struct NodeCapacity: Equatable, Sendable {
    var used: Int
    var max: Int
    /// The node's subscriber port.
    var port: UInt16

    var free: Int { Swift.max(0, self.max - self.used) }

    private static let responseBytesMax = 1 << 20
    private static let milliseconds: Int32 = 3000

    init(used: Int, max: Int, port: UInt16) {
        self.used = used
        self.max = max
        self.port = port
    }

    /// Reads a response of `/api/status`: its head and its body. Nil if the server is not a node.
    init?(response: [UInt8]) {
        guard let start = response.firstIndex(of: UInt8(ascii: "{")), let end = response.lastIndex(of: UInt8(ascii: "}")), start < end else { return nil }
        do {
            var status = try JSONValue(Array(response[start...end]), named: "the status", bytesMax: Self.responseBytesMax).object()
            var subscribers = try status.required("subscribers").object()
            let used = try subscribers.integer("connections", in: 0...Int64(Int32.max))
            let max = try subscribers.integer("connections_max", in: 1...Int64(Int32.max))
            guard let port = try status.string("listen", bytesMax: 1000).split(separator: ":").last.flatMap({ UInt16($0) }) else { return nil }
            self.init(used: Int(used), max: Int(max), port: port)
        } catch {
            return nil
        }
    }

    /// Whether subscribers connect to the node that reported this capacity. Another address may be another node, or a load balancer for many nodes.
    func describes(_ subscribe: RequestTemplate, status: RequestTemplate) -> Bool {
        subscribe.host.lowercased() == status.host.lowercased() && subscribe.port == self.port
    }

    /// Requests the status of a node. Nil if there is no response in time, or the server is not a node.
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
        return NodeCapacity(response: response)
    }

    private static func wait(_ descriptor: Int32, _ events: Int32) -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        return poll(&poller, 1, self.milliseconds) > 0
    }
}
