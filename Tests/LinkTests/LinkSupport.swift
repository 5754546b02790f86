import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Partitioning
import Sockets
import TestKit
import Testing

@testable import Link

/// One node's links, with their events so far.
final class TestNode: Sendable {
    let id: String
    let links: Links
    let logs: TestLogs
    let events = NIOLockedValueBox<[LinkEvent]>([])
    private let reader = NIOLockedValueBox<Task<Void, Never>?>(nil)
    private let bound = NIOLockedValueBox(ListenAddress(host: "127.0.0.1", port: 0))

    /// Two loops for all tests.
    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    init(
        _ id: String, cluster: String = "test", secret: String? = nil, tls: LinkTLS? = nil, limits: LinkLimits = .test, protocols: ClosedRange<Int> = 1...1,
        port: Int = 0, receiver: (any LinkDataReceiver)? = nil
    ) {
        self.id = id
        var configuration = LinkConfiguration(ListenAddress(host: "127.0.0.1", port: port), secret: secret.map { LinkSecret($0) })
        configuration.tls = tls
        configuration.limits = limits
        let logs = TestLogs()
        self.logs = logs
        self.links = Links(
            configuration, cluster: cluster, id: id, version: "0.1", protocols: protocols, group: Self.group, receiver: receiver,
            logger: Logger(label: "test") { _ in logs })
    }

    /// Starts listening, sets the incarnation, and reads events.
    func start(_ incarnation: Int64? = 1, reads: Bool = true) async throws {
        let address = try await self.links.start()
        self.bound.withLockedValue { $0 = address }
        if let incarnation { self.links.setIdentity(incarnation: incarnation) }
        if reads { self.read() }
    }

    func read() {
        let task = Task { [links, events] in
            for await event in links.events { events.withLockedValue { $0.append(event) } }
        }
        self.reader.withLockedValue { $0 = task }
    }

    var address: String { self.bound.withLockedValue { $0.description } }
    var port: Int { self.bound.withLockedValue { $0.port } }

    func peer(_ incarnation: Int64 = 1) -> LinkPeer { LinkPeer(ProcessID(id: self.id, incarnation: incarnation), address: self.address) }

    func close() async {
        await self.links.close()
        await self.reader.withLockedValue { $0 }?.value
    }

    var all: [LinkEvent] { self.events.withLockedValue { $0 } }

    /// Waits until an event has arrived, and returns all events so far.
    @discardableResult
    func wait(
        _ what: String, seconds: Int = 60, sourceLocation: SourceLocation = #_sourceLocation, _ predicate: (LinkEvent) -> Bool
    ) async throws -> [LinkEvent] {
        try await eventually(within: .seconds(seconds), "\(self.id): \(what)", at: sourceLocation) { self.all.contains(where: predicate) }
        return self.all
    }

    func waitUp(_ id: String, _ direction: LinkDirection = .outgoing, incarnation: Int64 = 1, sourceLocation: SourceLocation = #_sourceLocation) async throws {
        try await self.wait("\(direction) link to \(id) up", sourceLocation: sourceLocation) {
            $0 == .up(ProcessID(id: id, incarnation: incarnation), direction)
        }
    }

    /// The reasons of all rejected links.
    var rejections: [String] {
        self.all.compactMap { if case .down(_, _, .rejected(let reason)) = $0 { reason } else { nil } }
    }

    var payloads: [[UInt8]] {
        self.all.compactMap { if case .received(_, _, let payload) = $0 { payload } else { nil } }
    }
}

extension LinkLimits {
    /// The times are short enough for a test, and long enough for a busy machine.
    static let test: LinkLimits = {
        var limits = LinkLimits()
        limits.heartbeatMilliseconds = 100
        limits.silenceMilliseconds = 6000
        limits.stallMilliseconds = 6000
        limits.backoffMillisecondsMin = 20
        limits.backoffMillisecondsMax = 200
        limits.farewellMilliseconds = 300
        return limits
    }()
}

/// Stores the log lines.
struct TestLogs: LogHandler {
    private let kept = NIOLockedValueBox<[String]>([])
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.trace

    var lines: [String] { self.kept.withLockedValue { $0 } }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.metadata[key] }
        set { self.metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let fields = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        self.kept.withLockedValue { $0.append(([event.level.rawValue, event.message.description] + fields).joined(separator: " ")) }
    }
}

extension LinkFrameDecoder {
    /// The next frame of any kind.
    mutating func nextFrame() throws(Malformed) -> LinkFrame? {
        switch try self.next() {
        case .frame(let frame): frame
        case .data(let payload, let viewVersion): LinkFrame(kind: .data, viewVersion: viewVersion, payload: Array(payload.readableBytesView))
        case nil: nil
        }
    }
}
