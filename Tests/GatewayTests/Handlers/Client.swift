import NIOCore
import NIOEmbedded

@testable import Gateway

/// The client's end of one connection of a ``Bench``.
final class Client: Sendable {
    let bench: Bench
    let channel: NIOAsyncTestingChannel
    let socket = FakeSocket()

    init(_ bench: Bench, _ request: String, _ handler: @escaping @Sendable (Bench) -> any ChannelHandler) async throws {
        self.bench = bench
        let channel = NIOAsyncTestingChannel(loop: bench.loop)
        self.channel = channel
        try await bench.run { [socket] in
            socket.setChannelWritable = { channel.isWritable = $0 }
            try channel.pipeline.syncOperations.addHandlers([socket, handler(bench)])
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 1)).get()
        if !request.isEmpty { try await self.send(request) }
    }

    // MARK: - To the node

    func send(_ text: String) async throws { try await self.send(bytes: Array(text.utf8)) }

    func send(bytes: [UInt8]) async throws {
        try await self.bench.run { [channel] in
            guard channel.isActive else { return }
            channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(bytes: bytes)))
            channel.pipeline.syncOperations.fireChannelReadComplete()
        }
    }

    /// Closes the client's side. The client still reads.
    func endInput() async throws { try await self.bench.run { [socket] in socket.endInput() } }

    /// Disconnects without a close frame or a half-close.
    func disappear() async throws { try await self.bench.run { [channel] in channel.close(promise: nil) } }

    func fail() async throws { try await self.bench.run { [channel] in channel.pipeline.fireErrorCaught(ChannelError.ioOnClosedChannel) } }

    /// The client stops reading. Written bytes wait in the channel, which stays writable.
    func hold() async throws { try await self.bench.run { [socket] in socket.hold() } }

    func stall() async throws { try await self.bench.run { [socket] in socket.stall() } }

    /// Reads `count` of the waiting bytes.
    func take(_ count: Int) async throws { try await self.bench.run { [socket] in socket.take(count) } }

    func drain() async throws { try await self.bench.run { [socket] in socket.drain() } }

    // MARK: - From the node

    var bytes: [UInt8] { get async throws { try await self.bench.run { [socket] in Array(socket.received.readableBytesView) } } }

    var text: String { get async throws { String(decoding: try await self.bytes, as: UTF8.self) } }

    /// The bytes after the head of the response.
    var body: [UInt8] {
        get async throws {
            let bytes = try await self.bytes
            guard let head = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else { return [] }
            return Array(bytes[head.upperBound...])
        }
    }

    /// The events of an event stream, without its opening: the data and, if present, the type.
    var events: [String] {
        get async throws {
            let frames = String(decoding: try await self.body, as: UTF8.self).components(separatedBy: "\n\n").dropFirst()
            return frames.filter { $0.hasPrefix("id: ") }.map { $0.split(separator: "\n").dropFirst().joined(separator: "|") }
        }
    }

    /// The status of each response.
    var statuses: [Int] {
        get async throws {
            try await self.text.components(separatedBy: "HTTP/1.1 ").dropFirst().compactMap { Int($0.prefix(3)) }
        }
    }

    var isOutputClosed: Bool { get async throws { try await self.bench.run { [socket] in socket.isOutputClosed } } }

    var isClosed: Bool { get async throws { try await self.bench.run { [socket] in socket.isClosed } } }

    /// Whether the node reads the bytes of this client.
    var isRead: Bool { self.channel.options.last { $0.option is ChannelOptions.Types.AutoReadOption }.flatMap { $0.value as? Bool } ?? true }

    var writes: Int { get async throws { try await self.bench.run { [socket] in socket.writes } } }
}

extension String {
    fileprivate func components(separatedBy separator: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            parts.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return parts + [rest]
    }
}
