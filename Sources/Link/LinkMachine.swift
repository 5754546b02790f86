import Partitioning

/// One connection between two nodes, from its first byte to its last. Pure: ``LinkHandler`` executes its actions.
///
/// The side that dialled says hello; the other one says who it is, if the hello is good; the first one proves that it knows the secret, and then the other one
/// does. A stranger who comes in is given no proof to guess the secret from. Nothing but these four frames is read until then.
struct LinkMachine: Sendable {
    enum State: Hashable, Sendable {
        /// Outgoing: our hello is on its way.
        /// Can transition to: proving, closed.
        case greeting
        /// Incoming: the other side has not said who it is.
        /// Can transition to: doubting, closed.
        case listening
        /// Outgoing: the other side says it is who we meant; our proof is on its way.
        /// Can transition to: up, closed.
        case proving(LinkHello, challenge: [UInt8])
        /// Incoming: its hello is good, its proof has not come.
        /// Can transition to: up, closed.
        case doubting(LinkHello, hello: [UInt8])
        /// Both trust each other.
        /// Can transition to: closed.
        case up
        /// Nothing is sent or believed any more.
        case closed
    }

    enum Action: Hashable, Sendable {
        case send(LinkFrame.Kind, [UInt8])
        /// Whoever this is has proved it. Larger frames may come.
        case up(LinkIdentity, protocolVersion: Int)
        case received(viewVersion: Int64, [UInt8])
        case peerView(Int64)
        /// In microseconds.
        case roundTrip(Int)
        /// Say so if it can still be said, and close.
        case close(LinkLoss, farewell: String?)
    }

    var state: State
    let direction: LinkDirection
    /// Nil for a node that is not a member yet: it takes nobody.
    let identity: LinkIdentity?
    let secret: LinkSecret?
    /// What we say of ourselves, exactly as it is sent: proofs are made over it.
    let ownHello: [UInt8]
    let to: ProcessID?
    private let limits: LinkLimits

    /// All times are microseconds on the caller's clock.
    private let startedAt: Int
    private var heardAt: Int
    private var tickedAt: Int
    private var beatAt: Int
    /// The heartbeat that is not answered yet.
    private var unanswered: Int?
    private var taken = 0
    private var takenAt: Int
    private var peerView: Int64?

    /// - Parameter to: whom an outgoing link means; nil for an incoming one.
    init(_ direction: LinkDirection, identity: LinkIdentity?, to: ProcessID?, nonce: String, secret: LinkSecret?, limits: LinkLimits, now: Int) {
        self.direction = direction
        self.identity = identity
        self.to = to
        self.secret = secret
        self.limits = limits
        self.ownHello = identity.map { LinkHello(identity: $0, to: to, nonce: nonce).json } ?? []
        self.startedAt = now
        self.heardAt = now
        self.tickedAt = now
        self.beatAt = now
        self.takenAt = now
        self.state = direction == .outgoing ? .greeting : .listening
    }

    /// The first thing to send.
    func opened() -> [Action] { self.direction == .outgoing ? [.send(.hello, self.ownHello)] : [] }

    /// Bytes came. A large frame that is on its way is a sign of life too.
    mutating func heard(now: Int) { self.heardAt = now }

    mutating func received(_ frame: LinkFrame, now: Int) -> [Action] {
        switch (self.state, frame.kind) {
        case (.closed, _): return []
        case (_, .bye): return self.bye(frame.payload)
        case (.listening, .hello): return self.judgeHello(frame.payload)
        case (.greeting, .challenge): return self.judgeChallenge(frame.payload)
        case (.doubting(let peer, let hello), .proof): return self.judgeProof(frame.payload, peer, hello)
        case (.proving(let peer, let challenge), .ready): return self.judgeReady(frame, peer, challenge)
        case (.up, .heartbeat):
            guard frame.payload.count == 8 else { return self.malformed("a heartbeat has 8 bytes") }
            return [.send(.heartbeatAnswer, frame.payload)] + self.view(of: frame)
        case (.up, .heartbeatAnswer): return self.answered(frame.payload, now: now) + self.view(of: frame)
        // The version first: it may be what makes the message understood.
        case (.up, .message): return self.view(of: frame) + [.received(viewVersion: frame.viewVersion, frame.payload)]
        case (.greeting, _), (.listening, _), (.proving, _), (.doubting, _), (.up, _): return self.malformed("a \(frame.kind) frame does not belong here")
        }
    }

    /// What came is not of this protocol.
    mutating func malformed(_ reason: String) -> [Action] { self.refuse(reason) }

    /// The connection is gone, for a reason of the system's.
    mutating func disconnected() -> [Action] { self.end(.reset, farewell: nil) }

    /// Nobody wants it any more; an empty reason is no complaint.
    mutating func dismissed(_ reason: String) -> [Action] { self.end(.closed, farewell: reason) }

    /// Called a few times a second.
    ///
    /// - Parameters:
    ///   - isReading: false while the connection is not read for want of room, so that its silence is our own.
    ///   - taken: bytes that the system has taken for the peer so far; more than before says that it reads.
    ///   - waiting: bytes that the system has not taken.
    mutating func ticked(now: Int, isReading: Bool = true, taken: Int = 0, waiting: Int = 0) -> [Action] {
        // A tick that comes late says that this process slept, and nothing about the peer, whose bytes may be waiting.
        let isLate = now - self.tickedAt > self.limits.silenceMilliseconds * 500
        self.tickedAt = now
        if isLate || !isReading { self.heardAt = now }
        if isLate || waiting == 0 || taken > self.taken { self.takenAt = now }
        self.taken = taken
        switch self.state {
        case .closed: return []
        case .greeting, .listening, .proving, .doubting:
            return now - self.startedAt >= self.limits.handshakeMilliseconds * 1000 ? self.end(.silent, farewell: "the handshake takes too long") : []
        case .up:
            if now - self.heardAt >= self.limits.silenceMilliseconds * 1000 { return self.end(.silent, farewell: nil) }
            if now - self.takenAt >= self.limits.stallMilliseconds * 1000 { return self.end(.stalled, farewell: nil) }
            guard now - self.beatAt >= self.limits.heartbeatMilliseconds * 1000 else { return [] }
            self.beatAt = now
            self.unanswered = now
            return [.send(.heartbeat, Self.bytes(now))]
        }
    }

    // MARK: - Up

    mutating func rise(_ peer: LinkHello) -> [Action] {
        self.state = .up
        // Checked when the hello was judged.
        let common = min(peer.identity.protocols.upperBound, self.identity?.protocols.upperBound ?? 0)
        return [.up(peer.identity, protocolVersion: common)]
    }

    mutating func view(of frame: LinkFrame) -> [Action] {
        guard frame.viewVersion != self.peerView else { return [] }
        self.peerView = frame.viewVersion
        return [.peerView(frame.viewVersion)]
    }

    private mutating func answered(_ payload: [UInt8], now: Int) -> [Action] {
        guard let beat = self.unanswered, payload == Self.bytes(beat) else { return [] }
        self.unanswered = nil
        return [.roundTrip(now - beat)]
    }

    private static func bytes(_ beat: Int) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: beat >> (56 - 8 * $0)) } }

    // MARK: - The end

    private mutating func bye(_ payload: [UInt8]) -> [Action] {
        let reason = LinkMachine.printable(payload)
        return self.end(reason.isEmpty ? .closed : .rejected("by the other side: \(reason)"), farewell: nil)
    }

    /// What a stranger wrote, fit for a log.
    static func printable(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.prefix(300), as: UTF8.self).map { $0.unicodeScalars.allSatisfy { (0x20...0x7e).contains($0.value) } ? String($0) : "?" }.joined()
    }

    /// Ends with a reason for both sides.
    mutating func refuse(_ reason: String, farewell: String? = nil) -> [Action] { self.end(.rejected(reason), farewell: farewell ?? reason) }

    private mutating func end(_ loss: LinkLoss, farewell: String?) -> [Action] {
        guard self.state != .closed else { return [] }
        self.state = .closed
        return [.close(loss, farewell: farewell)]
    }
}
