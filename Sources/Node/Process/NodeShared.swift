import Coordination
import Logging
import NIOConcurrencyHelpers
import NIOCore
import Pipeline
import Sockets

/// What all loops of a node share. What changes is behind locks that no event takes: the counts at accept and close, the rest at start, at stop and when an
/// operator asks.
final class NodeShared: Sendable {
    let configuration: NodeConfiguration
    let origins: Origins
    let apiOrigins: Origins
    let heartbeats = Heartbeats()
    let page = PageResponse()
    let version: String
    let commit: String
    /// By the wall clock.
    let startedAt: Int64
    private let began = ContinuousClock.now
    /// What each kind of connection may take of this process's descriptors.
    let descriptors: DescriptorShares
    private let logger: Logger
    private let refusedOrigins = NIOLockedValueBox(RefusedOrigins())
    private let counts = NIOLockedValueBox(Counts())
    private let processState = NIOLockedValueBox(ProcessState.starting)

    /// Where the process is in its life.
    enum ProcessState: String {
        /// Can transition to: ready, stopping.
        case starting
        /// Can transition to: stopping.
        case ready
        case stopping
    }

    private let addresses = NIOLockedValueBox((listen: "", api: ""))
    private let inspectorBox = NIOLockedValueBox<NodeInspector?>(nil)
    private let clusterBox = NIOLockedValueBox<(any ClusterAdministration)?>(nil)
    private let memberBox = NIOLockedValueBox<ClusterMember?>(nil)

    init(
        configuration: NodeConfiguration, descriptors: DescriptorShares, version: String, commit: String, startedAt: Int64,
        logger: Logger = Logger(label: "none") { _ in SwiftLogNoOpLogHandler() }
    ) {
        self.configuration = configuration
        self.logger = logger
        // The API port's own page reads from the subscriber port, which to a browser is another origin.
        let own = Self.ownOrigins(configuration.api)
        self.origins = Origins(configuration.corsOrigins + own)
        // `*` is for reading: no list of everyone may publish through somebody's browser.
        self.apiOrigins = Origins(configuration.corsOrigins.filter { $0 != "*" } + own)
        self.descriptors = descriptors
        self.version = version
        self.commit = commit
        self.startedAt = startedAt
    }

    var state: ProcessState {
        get { self.processState.withLockedValue { $0 } }
        set { self.processState.withLockedValue { $0 = newValue } }
    }

    /// Since the start, whatever happens to the wall clock.
    var uptime: Duration { ContinuousClock.now - self.began }

    var uptimeSeconds: Int64 { self.uptime.components.seconds }

    /// The origins under which a browser on this machine may have opened the API port's page.
    private static func ownOrigins(_ api: ListenAddress) -> [String] {
        var hosts = ["127.0.0.1", "localhost", "[::1]"]
        if !api.isWildcard, !api.isLoopback { hosts.append(api.host.contains(":") ? "[\(api.host)]" : api.host) }
        return hosts.map { "http://\($0):\(api.port)" }
    }

    /// Where the listeners really are: port 0 has become a number.
    var boundAddresses: (listen: String, api: String) {
        get { self.addresses.withLockedValue { $0 } }
        set { self.addresses.withLockedValue { $0 = newValue } }
    }

    /// Their ports alone: a client of one port learns no address that it does not see.
    var boundPorts: (listen: Substring, api: Substring) {
        let (listen, api) = self.boundAddresses
        return (listen.split(separator: ":").last ?? "", api.split(separator: ":").last ?? "")
    }

    /// Nil until the loops are made.
    var inspector: NodeInspector? {
        get { self.inspectorBox.withLockedValue { $0 } }
        set { self.inspectorBox.withLockedValue { $0 = newValue } }
    }

    /// Whom the API asks about the cluster. Nil until the loops are made.
    var cluster: (any ClusterAdministration)? {
        get { self.clusterBox.withLockedValue { $0 } }
        set { self.clusterBox.withLockedValue { $0 = newValue } }
    }

    /// Nil for a node that is alone.
    var member: ClusterMember? {
        get { self.memberBox.withLockedValue { $0 } }
        set { self.memberBox.withLockedValue { $0 = newValue } }
    }

    /// A page of an origin that is not allowed asked for something.
    func originRefused(_ origin: String) {
        guard let sentence = self.refusedOrigins.withLockedValue({ $0.sentence(for: origin) }) else { return }
        self.logger.warning("\(sentence)")
    }

    // MARK: - Connection limits

    /// Subscriber connections there may be.
    var connectionsMax: Int { self.descriptors.subscribers }

    enum Admission {
        case admitted
        /// Over the limit, within what can still be told so.
        case refused
        /// Not even that.
        case dropped
    }

    func admitSubscriber() -> Admission {
        self.counts.withLockedValue { counts in
            guard counts.subscribers < self.connectionsMax + self.descriptors.refusals else {
                counts.droppedSubscribers += 1
                return .dropped
            }
            counts.subscribers += 1
            return counts.subscribers <= self.connectionsMax ? .admitted : .refused
        }
    }

    func releaseSubscriber() { self.counts.withLockedValue { $0.subscribers -= 1 } }

    func admitAPI() -> Admission {
        self.counts.withLockedValue { counts in
            let max = self.descriptors.api
            guard counts.api < max + self.descriptors.refusals else {
                counts.droppedAPI += 1
                return .dropped
            }
            counts.api += 1
            return counts.api <= max ? .admitted : .refused
        }
    }

    func releaseAPI() { self.counts.withLockedValue { $0.api -= 1 } }

    var connectionCounts: Counts { self.counts.withLockedValue { $0 } }

    /// Sockets open now, and those closed without a word since the start.
    struct Counts: Sendable {
        var subscribers = 0
        var api = 0
        var droppedSubscribers: UInt64 = 0
        var droppedAPI: UInt64 = 0
    }
}

/// What keeps an idle stream alive, encoded once.
struct Heartbeats: Sendable {
    private let buffers: [ByteBuffer]

    init() {
        self.buffers = Framing.allCases.map { framing in
            var buffer = ByteBuffer()
            switch framing {
            case .sse, .sseEnvelope, .sseChunked, .sseEnvelopeChunked: FrameEncoder.writeStream(ByteBuffer(string: ":\n\n"), framing: framing, into: &buffer)
            case .line, .lineChunked: FrameEncoder.writeStream(ByteBuffer(string: "\n"), framing: framing, into: &buffer)
            case .webSocket, .element: break
            }
            return buffer
        }
    }

    subscript(framing: Framing) -> ByteBuffer { self.buffers[Int(framing.rawValue)] }
}
