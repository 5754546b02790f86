import Partitioning

/// One connection between two nodes, from its first byte to its last. Pure: ``LinkHandler`` executes its actions.
///
/// The dialling side sends its hello. If the hello is valid, the accepting side sends its own hello (the challenge). Then the dialling side sends its proof
/// that it knows the secret. Only after this proof does the accepting side send its own proof, so an unauthenticated dialler gets no proof from which it could
/// guess the secret. Until both proofs are checked, only these four frames and `bye` are accepted.
struct LinkMachine: Sendable {
    enum State: Hashable, Sendable {
        /// Outgoing: this node has sent its hello.
        /// Can transition to: proofSent, closed.
        case helloSent
        /// Incoming: the peer has not sent its hello.
        /// Can transition to: awaitingProof, closed.
        case awaitingHello
        /// Outgoing: the peer's hello names the expected process, and this node has sent its proof.
        /// Can transition to: up, closed.
        case proofSent(LinkHello, challenge: [UInt8])
        /// Incoming: the peer's hello is valid, but its proof has not arrived.
        /// Can transition to: up, closed.
        case awaitingProof(LinkHello, hello: [UInt8])
        /// Both sides are authenticated.
        /// Can transition to: closed.
        case up
        /// Nothing is sent or accepted any more.
        case closed
    }

    enum Action: Hashable, Sendable {
        case send(LinkFrame.Kind, [UInt8])
        /// The peer is authenticated. Larger frames are allowed from now on.
        case up(LinkIdentity, LinkUse, protocolVersion: Int)
        case received(viewVersion: Int64, [UInt8])
        case peerView(Int64)
        /// In microseconds.
        case roundTrip(Int)
        /// Send the farewell if possible, and close.
        case close(LinkLoss, farewell: String?)
    }

    var state: State
    let direction: LinkDirection
    /// Nil for a node that is not a member yet. Such a node accepts no peer.
    let identity: LinkIdentity?
    let secret: LinkSecret?
    /// This node's hello, exactly as it is sent, because proofs are computed over these bytes.
    let ownHello: [UInt8]
    let to: ProcessID?
    /// Of an incoming link: known when the peer's hello has arrived.
    var use: LinkUse
    /// Uses that this node accepts from a peer.
    let accepted: Set<LinkUse>
    private let limits: LinkLimits

    /// All times are microseconds on the caller's clock.
    private let startedAt: Int
    private var lastReceivedAt: Int
    private var tickedAt: Int
    private var lastHeartbeatAt: Int
    /// When the last heartbeat was sent. Nil after its reply has arrived.
    private var outstandingHeartbeat: Int?
    private var writtenBytes = 0
    private var lastWrittenAt: Int
    private var peerView: Int64?

    /// - Parameters:
    ///   - to: the expected peer of an outgoing link. Nil for an incoming link.
    ///   - use: the use of an outgoing link.
    init(
        _ direction: LinkDirection, identity: LinkIdentity?, to: ProcessID?, use: LinkUse = .control, accepted: Set<LinkUse> = [.control], nonce: String,
        secret: LinkSecret?, limits: LinkLimits, now: Int
    ) {
        self.direction = direction
        self.use = use
        self.accepted = accepted
        self.identity = identity
        self.to = to
        self.secret = secret
        self.limits = limits
        self.ownHello = identity.map { LinkHello(identity: $0, to: to, use: use, nonce: nonce).json } ?? []
        self.startedAt = now
        self.lastReceivedAt = now
        self.tickedAt = now
        self.lastHeartbeatAt = now
        self.lastWrittenAt = now
        self.state = direction == .outgoing ? .helloSent : .awaitingHello
    }

    /// The connection is open.
    func opened() -> [Action] { self.direction == .outgoing ? [.send(.hello, self.ownHello)] : [] }

    /// Called when bytes arrive. A part of a large frame also proves that the peer is alive.
    mutating func didReceiveBytes(now: Int) { self.lastReceivedAt = now }

    mutating func received(_ frame: LinkFrame, now: Int) -> [Action] {
        switch (self.state, frame.kind) {
        case (.closed, _): return []
        case (_, .bye): return self.bye(frame.payload)
        case (.awaitingHello, .hello): return self.handleHello(frame.payload)
        case (.helloSent, .challenge): return self.handleChallenge(frame.payload)
        case (.awaitingProof(let peer, let hello), .proof): return self.handleProof(frame.payload, peer, hello)
        case (.proofSent(let peer, let challenge), .ready): return self.handleReady(frame, peer, challenge)
        case (.up, .heartbeat):
            guard frame.payload.count == 8 else { return self.malformed("a heartbeat must have 8 bytes") }
            return [.send(.heartbeatReply, frame.payload)] + self.view(of: frame)
        case (.up, .heartbeatReply): return self.heartbeatReply(frame.payload, now: now) + self.view(of: frame)
        // The view version is reported first, because the message may depend on it.
        case (.up, .message) where self.use == .control: return self.view(of: frame) + [.received(viewVersion: frame.viewVersion, frame.payload)]
        case (.helloSent, _), (.awaitingHello, _), (.proofSent, _), (.awaitingProof, _), (.up, _):
            return self.malformed("a \(frame.kind) frame is not allowed in this state")
        }
    }

    /// A data frame has arrived. An empty array means that it may be passed on.
    mutating func receivedData(viewVersion: Int64) -> [Action] {
        switch self.state {
        case .closed: return []
        case .up where self.use == .data: return []
        case .helloSent, .awaitingHello, .proofSent, .awaitingProof, .up: return self.malformed("a data frame is not allowed in this state")
        }
    }

    /// Called when the peer violates the protocol.
    mutating func malformed(_ reason: String) -> [Action] { self.refuse(reason) }

    /// The system reports that the connection is closed.
    mutating func disconnected() -> [Action] { self.end(.reset, farewell: nil) }

    /// This node no longer needs the link. An empty reason means a normal end.
    mutating func dismissed(_ reason: String) -> [Action] { self.end(.closed, farewell: reason) }

    /// Called several times a second.
    ///
    /// - Parameters:
    ///   - isReading: false while this node does not read the connection. Then missing bytes do not mean that the peer is silent.
    ///   - taken: bytes that the system has accepted for the peer so far. If the number has grown, the peer reads.
    ///   - waiting: bytes that the system has not accepted yet.
    mutating func ticked(now: Int, isReading: Bool = true, taken: Int = 0, waiting: Int = 0) -> [Action] {
        // A late tick means that this process was paused. The peer may be alive, and its bytes may still wait to be read.
        let isLate = now - self.tickedAt > self.limits.silenceMilliseconds * 500
        self.tickedAt = now
        if isLate || !isReading { self.lastReceivedAt = now }
        if isLate || waiting == 0 || taken > self.writtenBytes { self.lastWrittenAt = now }
        self.writtenBytes = taken
        switch self.state {
        case .closed: return []
        case .helloSent, .awaitingHello, .proofSent, .awaitingProof:
            return now - self.startedAt >= self.limits.handshakeMilliseconds * 1000 ? self.end(.silent, farewell: "the handshake takes too long") : []
        case .up:
            if now - self.lastReceivedAt >= self.limits.silenceMilliseconds * 1000 { return self.end(.silent, farewell: nil) }
            if now - self.lastWrittenAt >= self.limits.stallMilliseconds * 1000 { return self.end(.stalled, farewell: nil) }
            guard now - self.lastHeartbeatAt >= self.limits.heartbeatMilliseconds * 1000 else { return [] }
            self.lastHeartbeatAt = now
            self.outstandingHeartbeat = now
            return [.send(.heartbeat, Self.bytes(now))]
        }
    }

    // MARK: - Up

    mutating func open(_ peer: LinkHello) -> [Action] {
        self.state = .up
        // `handleHello` and `handleChallenge` have checked that the protocol versions overlap.
        let common = min(peer.identity.protocols.upperBound, self.identity?.protocols.upperBound ?? 0)
        return [.up(peer.identity, self.use, protocolVersion: common)]
    }

    mutating func view(of frame: LinkFrame) -> [Action] {
        guard frame.viewVersion != self.peerView else { return [] }
        self.peerView = frame.viewVersion
        return [.peerView(frame.viewVersion)]
    }

    private mutating func heartbeatReply(_ payload: [UInt8], now: Int) -> [Action] {
        guard let beat = self.outstandingHeartbeat, payload == Self.bytes(beat) else { return [] }
        self.outstandingHeartbeat = nil
        return [.roundTrip(now - beat)]
    }

    private static func bytes(_ beat: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: beat >> (56 - 8 * $0)) } }

    // MARK: - The end

    private mutating func bye(_ payload: [UInt8]) -> [Action] {
        let reason = LinkMachine.printable(payload)
        return self.end(reason.isEmpty ? .closed : .rejected("by the peer: \(reason)"), farewell: nil)
    }

    /// Text from an unauthenticated peer, made safe for a log.
    static func printable(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.prefix(300), as: UTF8.self).map { $0.unicodeScalars.allSatisfy { (0x20...0x7e).contains($0.value) } ? String($0) : "?" }.joined()
    }

    /// Ends the link, and gives the reason to both sides.
    mutating func refuse(_ reason: String, farewell: String? = nil) -> [Action] { self.end(.rejected(reason), farewell: farewell ?? reason) }

    private mutating func end(_ loss: LinkLoss, farewell: String?) -> [Action] {
        guard self.state != .closed else { return [] }
        self.state = .closed
        return [.close(loss, farewell: farewell)]
    }
}
