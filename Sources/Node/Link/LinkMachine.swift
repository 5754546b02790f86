import JSON

/// One connection between two nodes, from its first byte to its last. Pure: ``LinkHandler`` executes its actions.
///
/// The side that dialled says hello; the other one welcomes it and proves that it knows the secret; then the first one proves it too, and is told that it is
/// trusted. So neither is trusted by the other before it has proved itself, and nothing but these four frames is read until then.
struct LinkMachine: Sendable {
    enum State: Hashable, Sendable {
        /// Outgoing: our hello is on its way.
        /// Can transition to: proving, closed.
        case greeting
        /// Incoming: the other side has not said who it is.
        /// Can transition to: doubting, closed.
        case listening
        /// Outgoing: the other side is who we meant; our proof is on its way.
        /// Can transition to: up, closed.
        case proving(LinkHello)
        /// Incoming: its hello is good, its proof has not come.
        /// Can transition to: up, closed.
        case doubting(LinkHello)
        /// Both trust each other.
        /// Can transition to: closed.
        case up(LinkIdentity)
        case closed
    }

    enum Action: Hashable, Sendable {
        case send(LinkFrame.Kind, [UInt8])
        case up(LinkIdentity)
        case received(viewVersion: Int64, [UInt8])
        case peerView(Int64)
        /// Say so if it can still be said, and close.
        case close(LinkLoss, farewell: String?)
    }

    private(set) var state: State
    private let direction: LinkDirection
    private let own: LinkHello
    private let secret: LinkSecret?
    private var peerView: Int64?
    /// In milliseconds on the caller's clock.
    private var heardAt: Int
    private var saidAt: Int
    private let startedAt: Int
    private let limits: LinkLimits

    /// - Parameter own: for an outgoing link with whom it means.
    init(_ direction: LinkDirection, own: LinkHello, secret: LinkSecret?, limits: LinkLimits, now: Int) {
        self.direction = direction
        self.own = own
        self.secret = secret
        self.limits = limits
        self.heardAt = now
        self.saidAt = now
        self.startedAt = now
        self.state = direction == .outgoing ? .greeting : .listening
    }

    /// The first thing to send.
    func opened() -> [Action] { self.direction == .outgoing ? [.send(.hello, self.own.json)] : [] }

    mutating func received(_ frame: LinkFrame, now: Int) -> [Action] {
        self.heardAt = now
        if frame.kind == .bye, self.state != .closed { return self.end(.rejected(String(decoding: frame.payload.prefix(500), as: UTF8.self)), farewell: nil) }
        switch (self.state, frame.kind) {
        case (.listening, .hello): return self.judgeHello(frame.payload)
        case (.greeting, .welcome): return self.judgeWelcome(frame.payload)
        case (.doubting(let hello), .proof): return self.judgeProof(frame.payload, hello)
        case (.proving(let hello), .ready): return self.rise(hello.identity, [], frame)
        case (.up, .heartbeat): return self.heardView(frame, [.send(.heartbeatAnswer, [])])
        case (.up, .heartbeatAnswer): return self.heardView(frame, [])
        case (.up, .message): return self.heardView(frame, []) + [.received(viewVersion: frame.viewVersion, frame.payload)]
        case (.closed, _): return []
        case (.greeting, _), (.listening, _), (.proving, _), (.doubting, _), (.up, _):
            return self.end(.rejected("a \(frame.kind) frame does not belong here"), farewell: "a \(frame.kind) frame does not belong here")
        }
    }

    mutating func malformed(_ reason: String) -> [Action] { self.end(.rejected(reason), farewell: reason) }

    /// The connection is gone, for a reason of the system's.
    mutating func disconnected() -> [Action] { self.end(.reset, farewell: nil) }

    /// Nobody wants it any more.
    mutating func dismissed(_ reason: String) -> [Action] { self.end(.closed, farewell: reason) }

    /// Called a few times a second.
    mutating func ticked(now: Int) -> [Action] {
        switch self.state {
        case .closed: return []
        case .greeting, .listening, .proving, .doubting:
            return now - self.startedAt >= self.limits.handshakeMilliseconds ? self.end(.silent, farewell: "the handshake takes too long") : []
        case .up:
            if now - self.heardAt >= self.limits.silenceMilliseconds { return self.end(.silent, farewell: nil) }
            guard self.direction == .outgoing, now - self.saidAt >= self.limits.heartbeatMilliseconds else { return [] }
            self.saidAt = now
            return [.send(.heartbeat, [])]
        }
    }

    // MARK: -

    private mutating func judgeHello(_ payload: [UInt8]) -> [Action] {
        let hello: LinkHello
        do throws(JSONFailure) { hello = try LinkHello(json: payload) } catch { return self.malformed(error.description) }
        if let reason = self.objection(to: hello) { return self.end(.rejected(reason), farewell: reason) }
        guard hello.to == self.own.identity.id, hello.toIncarnation == self.own.identity.incarnation else {
            let reason = "this is \(self.own.identity.id) incarnation \(self.own.identity.incarnation), not \(hello.to ?? "?") \(hello.toIncarnation ?? 0)"
            return self.end(.rejected(reason), farewell: reason)
        }
        self.state = .doubting(hello)
        var welcome = self.own
        if let secret = self.secret { welcome.proof = secret.proof(of: .incoming, dialler: hello, answerer: self.own) }
        return [.send(.welcome, welcome.json)]
    }

    private mutating func judgeWelcome(_ payload: [UInt8]) -> [Action] {
        let hello: LinkHello
        do throws(JSONFailure) { hello = try LinkHello(json: payload) } catch { return self.malformed(error.description) }
        if let reason = self.objection(to: hello) { return self.end(.rejected(reason), farewell: reason) }
        guard hello.identity.id == self.own.to, hello.identity.incarnation == self.own.toIncarnation else {
            let reason = "dialled \(self.own.to ?? "?") \(self.own.toIncarnation ?? 0) and reached \(hello.identity.id) \(hello.identity.incarnation)"
            return self.end(.rejected(reason), farewell: reason)
        }
        var proof = ""
        if let secret = self.secret {
            guard LinkSecret.areEqual(hello.proof, secret.proof(of: .incoming, dialler: self.own, answerer: hello)) else {
                return self.end(.rejected("\(hello.identity.id) does not know the link secret"), farewell: "the link secrets differ")
            }
            proof = secret.proof(of: .outgoing, dialler: self.own, answerer: hello)
        }
        self.state = .proving(hello)
        return [.send(.proof, Array(proof.utf8))]
    }

    private mutating func judgeProof(_ payload: [UInt8], _ hello: LinkHello) -> [Action] {
        if let secret = self.secret {
            guard LinkSecret.areEqual(String(decoding: payload, as: UTF8.self), secret.proof(of: .outgoing, dialler: hello, answerer: self.own)) else {
                return self.end(.rejected("\(hello.identity.id) does not know the link secret"), farewell: "the link secrets differ")
            }
        }
        return self.rise(hello.identity, [.send(.ready, [])], nil)
    }

    private func objection(to hello: LinkHello) -> String? {
        if hello.identity.cluster != self.own.identity.cluster {
            return "\(hello.identity.id) is of cluster \(hello.identity.cluster), this one of \(self.own.identity.cluster)"
        }
        if !hello.identity.protocols.overlaps(self.own.identity.protocols) {
            return "\(hello.identity.id) speaks protocols \(hello.identity.protocols), this one \(self.own.identity.protocols)"
        }
        if hello.identity.id == self.own.identity.id { return "\(hello.identity.id) is this node's own id" }
        return nil
    }

    private mutating func rise(_ identity: LinkIdentity, _ first: [Action], _ frame: LinkFrame?) -> [Action] {
        self.state = .up(identity)
        let actions = first + [.up(identity)]
        return frame.map { self.heardView($0, actions) } ?? actions
    }

    private mutating func heardView(_ frame: LinkFrame, _ actions: [Action]) -> [Action] {
        guard frame.viewVersion != self.peerView else { return actions }
        self.peerView = frame.viewVersion
        return actions + [.peerView(frame.viewVersion)]
    }

    private mutating func end(_ loss: LinkLoss, farewell: String?) -> [Action] {
        guard self.state != .closed else { return [] }
        self.state = .closed
        return [.close(loss, farewell: farewell)]
    }
}
