import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Partitioning

extension Links {
    // MARK: - Accepting

    /// On the new connection's loop.
    func accept(_ channel: any Channel) throws {
        let address = channel.remoteAddress?.ipAddress ?? ""
        let incarnation: Int64?? = self.state.withLockedValue { state in
            guard !state.isClosed, state.incomingCount < self.limits.incomingMax, state.strangers.values.reduce(0, +) < self.limits.strangersMax,
                state.strangers[address, default: 0] < self.limits.strangersOfAddressMax
            else { return nil }
            state.strangers[address, default: 0] += 1
            state.incomingCount += 1
            return .some(state.incarnation)
        }
        guard let incarnation else { throw LinkRefusals.Full() }
        if let tls = self.configuration.tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls.server)) }
        let machine = LinkMachine(
            .incoming, identity: incarnation.map(self.identity), to: nil, nonce: LinkHello.makeNonce(), secret: self.configuration.secret, limits: self.limits,
            now: LinkHandler.now)
        let handler = LinkHandler(peer: nil, attempt: 0, machine: machine, limits: self.limits, links: self)
        let serial = handler.serial
        var connection = Connection(direction: .incoming, channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        connection.address = address
        self.state.withLockedValue { [connection] in $0.connections[serial] = connection }
        channel.closeFuture.whenComplete { _ in
            self.state.withLockedValue { state in
                if state.connections.removeValue(forKey: serial)?.identity == nil { state.strangerLeft(address) }
                state.incomingCount -= 1
            }
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// Under the lock: every incoming link ends, and every connection that is not a link yet.
    func dismissAll(_ state: inout State) -> [Work] {
        var work: [Work] = []
        for (serial, connection) in state.connections where connection.direction == .incoming {
            self.lower(serial, .closed, &state)
            work.append(.dismiss(connection.handler))
        }
        return work
    }

    /// Under the lock: an incoming link is none any more.
    private func lower(_ serial: UInt64, _ loss: LinkLoss, _ state: inout State) {
        guard let connection = state.connections[serial], connection.isUp, let identity = connection.identity else { return }
        state.connections[serial]!.isUp = false
        if state.incoming[identity.id] == serial { state.incoming[identity.id] = nil }
        self.inbox.put(.down(id: identity.id, incarnation: identity.incarnation, .incoming, loss))
    }

    // MARK: - From the connections, on their loops

    /// False when nobody wants the connection any more.
    func opened(_ handler: LinkHandler, _ channel: any Channel) -> Bool {
        guard let peer = handler.peer else { return true }
        var connection = Connection(direction: .outgoing, channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        connection.peerID = peer.id
        connection.attempt = handler.attempt
        let serial = handler.serial
        let isWanted = self.state.withLockedValue { [connection] state in
            guard state.peers[peer.id]?.peer.incarnation == peer.incarnation, state.peers[peer.id]!.dial.connected(connection.attempt) else { return false }
            state.peers[peer.id]!.serial = serial
            state.connections[serial] = connection
            return true
        }
        if isWanted { channel.closeFuture.whenComplete { _ in self.state.withLockedValue { _ = $0.connections.removeValue(forKey: serial) } } }
        return isWanted
    }

    /// The other side has proved who it is. Answers why it is not wanted, if it is not.
    func rose(_ serial: UInt64, _ identity: LinkIdentity, _ protocolVersion: Int) -> String? {
        let (objection, work): (String?, [Work]) = self.state.withLockedValue { state in
            guard let connection = state.connections[serial] else { return ("", []) }
            if connection.direction == .incoming, connection.identity == nil { state.strangerLeft(connection.address) }
            state.connections[serial]!.identity = identity
            state.connections[serial]!.protocolVersion = protocolVersion
            switch connection.direction {
            case .outgoing:
                guard let id = connection.peerID, state.peers[id]?.serial == serial else { return ("", []) }
                state.connections[serial]!.isUp = true
                return (nil, self.settle(id, state.peers[id]!.dial.rose(connection.attempt, now: LinkHandler.now / 1000), &state))
            case .incoming:
                guard !state.isClosed else { return ("", []) }
                var work: [Work] = []
                if let other = state.incoming[identity.id], let rival = state.connections[other], let known = rival.identity {
                    // The newer process is the one that lives; of one process, the newer connection.
                    guard identity.incarnation >= known.incarnation else { return ("a newer \(identity.id) is here: incarnation \(known.incarnation)", []) }
                    self.lower(other, .closed, &state)
                    work.append(.dismiss(rival.handler))
                }
                state.connections[serial]!.isUp = true
                state.connections[serial]!.changedAt = .now()
                state.incoming[identity.id] = serial
                self.inbox.put(.up(id: identity.id, incarnation: identity.incarnation, .incoming))
                return (nil, work)
            }
        }
        self.carryOut(work)
        return objection
    }

    /// False when there is no room for more.
    func received(_ serial: UInt64, viewVersion: Int64, _ payload: [UInt8]) -> Bool {
        self.put(serial) { .received(from: $0.id, incarnation: $0.incarnation, viewVersion: viewVersion, payload: payload) }
    }

    func peerView(_ serial: UInt64, _ version: Int64) -> Bool {
        self.put(serial) { .viewVersion(from: $0.id, incarnation: $0.incarnation, version) }
    }

    /// What comes over a connection that has been let go of is nobody's.
    private func put(_ serial: UInt64, _ event: (LinkIdentity) -> LinkEvent) -> Bool {
        self.state.withLockedValue { state in
            guard let connection = state.connections[serial], connection.isUp, let identity = connection.identity else { return true }
            return self.inbox.put(event(identity))
        }
    }

    func measured(_ serial: UInt64, roundTrip: Int) { self.state.withLockedValue { $0.connections[serial]?.roundTrip = roundTrip } }

    /// The connection ends.
    func fell(_ serial: UInt64, _ loss: LinkLoss) {
        let work: [Work] = self.state.withLockedValue { state in
            guard let connection = state.connections[serial] else { return [] }
            switch connection.direction {
            case .outgoing:
                state.connections[serial]!.isUp = false
                guard let id = connection.peerID, state.peers[id]?.serial == serial else { return [] }
                state.peers[id]!.serial = nil
                return self.fall(id, connection.attempt, loss, &state)
            case .incoming:
                self.lower(serial, loss, &state)
                if case .rejected(let reason) = loss { self.refused(reason, connection.channel.remoteAddress?.ipAddress ?? "?", &state) }
                return []
            }
        }
        self.carryOut(work)
    }

    /// Whoever was refused comes again and again; a person needs it once.
    private func refused(_ reason: String, _ host: String, _ state: inout State) {
        guard state.refused.isNews("\(host) \(reason)", now: .now()) else { return }
        self.logger.warning("a link was refused", metadata: ["from": "\(host)", "reason": "\(reason)"])
    }

    // MARK: - Status

    /// All links, those to peers first, each in the order of ids.
    package var states: [LinkStatus] {
        let now = NIODeadline.now()
        return self.state.withLockedValue { state in
            let outgoing = state.peers.values.sorted { $0.peer.id < $1.peer.id }.map { peer in
                let connection = peer.serial.flatMap { state.connections[$0] }
                return LinkStatus(
                    id: peer.peer.id, incarnation: peer.peer.incarnation, direction: .outgoing, address: peer.peer.address, isUp: peer.dial.isUp,
                    milliseconds: Int((now - peer.changedAt).nanoseconds / 1_000_000), loss: peer.dial.lastLoss, roundTripMicroseconds: connection?.roundTrip,
                    queuedBytes: connection?.queuedBytes ?? 0, droppedMessages: peer.dropped, protocolVersion: connection?.protocolVersion)
            }
            let incoming = state.incoming.sorted { $0.key < $1.key }.compactMap { id, serial in
                state.connections[serial].map { connection in
                    LinkStatus(
                        id: id, incarnation: connection.identity?.incarnation ?? 0, direction: .incoming, isUp: connection.isUp,
                        milliseconds: Int((now - connection.changedAt).nanoseconds / 1_000_000), roundTripMicroseconds: connection.roundTrip,
                        protocolVersion: connection.protocolVersion)
                }
            }
            return outgoing + incoming
        }
    }
}

extension Links.State {
    /// It has proved who it is, or it is gone.
    mutating func strangerLeft(_ address: String) {
        guard let count = self.strangers[address] else { return }
        self.strangers[address] = count > 1 ? count - 1 : nil
    }
}
