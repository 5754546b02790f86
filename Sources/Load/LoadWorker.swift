import Glibc
import Histogram

/// Runs a share of the subscribers and publishers in one thread, on non-blocking sockets.
///
/// All connections share one read buffer. A connection stores only the bytes of a marker that was split between two reads.
/// The type is noncopyable, so that its state is plain memory without reference counts and run-time exclusivity checks.
struct LoadWorker: ~Copyable {
    enum Phase { case connecting, waiting, running, draining, finished }

    enum Token {
        static let publishers: UInt64 = 1 << 62
        static let link: UInt64 = 1 << 63
    }

    /// Space before the read buffer for the stored bytes of the connection that is read.
    static let headroom = MarkerScanner.straddleMax
    static let readBytes = 256 * 1024
    static let housekeepingNanoseconds: UInt64 = 20_000_000
    static let progressNanoseconds: UInt64 = 250_000_000
    /// During a batch of reads, publishers are served at this interval.
    static let servePublishersNanoseconds: UInt64 = 200_000

    let settings: LoadSettings
    let plan: LoadPlan
    let addresses: [SocketAddress]
    let publishAddress: SocketAddress
    let sources: [SocketAddress]
    let index: Int
    var link: LineLink
    let loop = EpollLoop(capacity: 512)
    let publisherLoop = EpollLoop(capacity: 64)

    // The state of the subscribers: dense arrays with one entry for each connection.
    let firstSubscriber: Int
    let count: Int
    let subscribers: UnsafeMutablePointer<Subscriber>
    let heads: UnsafeMutablePointer<HTTPResponseScanner>
    let walkers: UnsafeMutablePointer<WebSocketWalker>
    let tails: UnsafeMutablePointer<UInt8>
    let buffer: UnsafeMutablePointer<UInt8>
    var tracker: SequenceTracker
    let scanner: MarkerScanner
    var subscribeHead: [UInt8]
    var request: [UInt8] = []
    /// Responses and control frames that were split between reads. They are rare, so they are stored separately.
    var pieces: [Int: [UInt8]] = [:]
    var pollPositions: [Int: PollPosition] = [:]
    var reconnects: [Int] = []

    // The state of connecting.
    var inFlight: [Int] = []
    var connectStart: UInt64 = 0
    var connectsStarted = 0
    /// Failed connects since the last successful connect.
    var consecutiveFailures: UInt64 = 0
    let connectsTotal: Int
    /// The free indexes for churn. Without churn each connection has a fixed index.
    var freeIndexes: [Int] = []

    // The state of the publishers.
    let publishers: UnsafeMutablePointer<Publisher>
    let publishersCount: Int
    var payload: PayloadTemplate
    var publishHeads: [Int: [UInt8]] = [:]
    var publishing: [UInt8] = []
    var unsent: [Int: [UInt8]] = [:]
    var sequences: [UInt64]
    var windowCounts: [UInt64]
    var uncertain: [(stream: Int, sequence: UInt64)] = []
    var nextPublish = UInt64.max
    var nextServePublishers = UInt64.max

    // The state of the run.
    var phase = Phase.connecting
    var start: UInt64 = .max
    var measureFrom: UInt64 = .max
    var measureTo: UInt64 = .max
    var drainTo: UInt64 = .max
    var window = WindowMeter()
    var tally = WorkerTally()
    var finals: [FinalStream] = []
    var finalUncertain: [Int: [UInt64]] = [:]
    var finalsAreKnown = false
    var publishedIsSent = false
    var completeSince: UInt64 = 0
    var nextHousekeeping: UInt64 = 0
    var nextProgress: UInt64 = 0
    var burstStart: UInt64 = 0

    struct FinalStream {
        var last: UInt64 = 0
        var inWindow: UInt64 = 0
    }

    init(settings: LoadSettings, index: Int, link descriptor: Int32) throws(LoadError) {
        var addresses: [SocketAddress] = []
        for target in settings.subscribeTargets { addresses.append(try SocketAddress(host: target.host, port: target.port)) }
        let publishAddress =
            settings.plan.publishers > 0
            ? try SocketAddress(host: settings.publish.host, port: settings.publish.port) : addresses[0]
        self.init(settings: settings, index: index, link: descriptor, addresses: addresses, publishAddress: publishAddress)
    }

    private init(settings: LoadSettings, index: Int, link descriptor: Int32, addresses: [SocketAddress], publishAddress: SocketAddress) {
        self.settings = settings
        self.plan = settings.plan
        self.index = index
        self.link = LineLink(descriptor: descriptor)
        self.addresses = addresses
        self.publishAddress = publishAddress
        self.sources = (0..<settings.sourceAddresses).map { SocketAddress(loopbackOffset: $0 + 1) }

        let range = settings.plan.subscribers(ofWorker: index)
        self.firstSubscriber = range.lowerBound
        if settings.plan.churn > 0 {
            self.connectsTotal = settings.plan.churn(ofWorker: index)
            self.count = min(self.connectsTotal, max(1, settings.churnAtOnce / settings.plan.processes))
            self.freeIndexes = Array(0..<self.count)
        } else {
            self.connectsTotal = range.count
            self.count = range.count
        }
        self.subscribers = .filled(self.count, with: Subscriber())
        self.heads = .filled(self.count, with: HTTPResponseScanner())
        self.walkers = .filled(settings.transport == .ws ? self.count : 0, with: WebSocketWalker())
        self.tails = .filled(self.count * Self.headroom, with: 0)
        self.buffer = .filled(Self.headroom + Self.readBytes, with: 0)
        self.tracker = SequenceTracker(slots: range.count * settings.plan.slotsPerSubscriber)
        self.payload = PayloadTemplate(run: settings.run, count: settings.payloadBytes)
        self.scanner = MarkerScanner(run: settings.run, stride: self.payload.stride)
        self.subscribeHead = settings.subscribeHeadLines

        let own = settings.plan.publishers(ofWorker: index)
        self.publishersCount = own.count
        self.publishers = .filled(own.count, with: Publisher())
        for (place, publisher) in own.enumerated() { self.publishers[place].number = publisher }
        self.sequences = [UInt64](repeating: 1, count: own.isEmpty ? 0 : settings.plan.streams)
        self.windowCounts = [UInt64](repeating: 0, count: own.isEmpty ? 0 : settings.plan.streams)
    }

    deinit {
        for index in 0..<self.count where self.subscribers[index].descriptor >= 0 { close(self.subscribers[index].descriptor) }
        for index in 0..<self.publishersCount where self.publishers[index].descriptor >= 0 { close(self.publishers[index].descriptor) }
        self.subscribers.deallocate()
        self.heads.deallocate()
        self.walkers.deallocate()
        self.tails.deallocate()
        self.buffer.deallocate()
        self.publishers.deallocate()
    }

    // MARK: The loop

    /// Runs until the tally was sent to the coordinator, or the coordinator has closed the link.
    mutating func run() {
        if !self.settings.pins.isEmpty { _ = LinuxCalls.pin(toCPU: self.settings.pins[self.index % self.settings.pins.count]) }
        ProcFile.write("load-worker", to: "/proc/thread-self/comm")
        // Without this the kernel extends every sleep by up to 50 µs.
        ProcFile.write("1", to: "/proc/thread-self/timerslack_ns")
        self.loop.add(self.link.descriptor, token: Token.link, interest: EpollLoop.readable)
        self.loop.add(self.publisherLoop.descriptor, token: Token.publishers, interest: EpollLoop.readable)
        self.connectStart = Clock.now()
        if self.plan.churn > 0 { self.window.open(self.connectStart) }
        for index in 0..<self.publishersCount { self.connectPublisher(index, now: self.connectStart) }
        while self.phase != .finished, !self.link.isClosed {
            let now = Clock.now()
            self.advance(now)
            if self.phase == .finished { break }
            let ready = self.loop.wait(nanoseconds: self.sleepLimit(Clock.now()))
            if ready > 0, self.burstStart == 0 { self.burstStart = Clock.now() }
            self.handle(ready)
            self.noteWake(ready)
        }
        self.report()
    }

    /// Measures how long bursts take to read. In a burst each read waits for the reads before it, which adds to the measured latency.
    private mutating func noteWake(_ ready: Int) {
        let isFull = ready == self.loop.capacity
        if self.window.isOpen {
            self.tally.wakes += 1
            if isFull { self.tally.fullWakes += 1 }
            if ready > 0, !isFull { _ = self.tally.reading.record(min(Clock.now() - self.burstStart, WorkerTally.nanosecondsMax)) }
        }
        if !isFull { self.burstStart = 0 }
    }

    private mutating func handle(_ ready: Int) {
        var event = 0
        while event < ready {
            let token = self.loop.token(event)
            event &+= 1
            if token < Token.publishers {
                let now = self.subscriberIsReady(Int(truncatingIfNeeded: token))
                if now >= self.nextServePublishers { self.servePublishers(now) }
            } else if token == Token.publishers {
                self.servePublishers(Clock.now())
            } else {
                self.handleLines()
            }
        }
    }

    /// Executes everything that is due at this time.
    private mutating func advance(_ now: UInt64) {
        if self.phase == .connecting { self.startConnects(now) }
        if self.phase == .running {
            if !self.window.isOpen, !self.window.isClosed, now >= self.measureFrom { self.window.open(now) }
            if now >= self.measureTo { self.endPublishing(now) } else if now >= self.nextServePublishers { self.servePublishers(now) }
        }
        if now >= self.nextHousekeeping {
            self.nextHousekeeping = now + Self.housekeepingNanoseconds
            self.housekeep(now)
        }
    }

    /// The maximum time that the loop may sleep, in nanoseconds.
    private func sleepLimit(_ now: UInt64) -> UInt64 {
        var until = self.nextHousekeeping
        switch self.phase {
        case .connecting:
            if let due = self.connectDue { until = min(until, due) }
        case .running:
            until = min(until, self.nextPublish, self.measureTo, self.window.isOpen ? .max : self.measureFrom)
        case .waiting, .draining, .finished:
            break
        }
        return until > now ? until - now : 0
    }
}

extension UnsafeMutablePointer {
    static func filled(_ count: Int, with value: Pointee) -> Self {
        let pointer = Self.allocate(capacity: Swift.max(1, count))
        pointer.initialize(repeating: value, count: Swift.max(1, count))
        return pointer
    }
}
