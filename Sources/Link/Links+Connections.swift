import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOSSL
import Partitioning

extension Links {
    // MARK: - Accepting

    /// Called on the new connection's loop.
    func accept(_ channel: any Channel) throws {
        let address = channel.remoteAddress?.ipAddress ?? ""
        let incarnation: Int64?? = self.state.withLockedValue { state in
            guard !state.isClosed, state.incomingCount < self.limits.incomingMax, state.unauthenticated.values.reduce(0, +) < self.limits.unauthenticatedMax,
                state.unauthenticated[address, default: 0] < self.limits.unauthenticatedPerAddressMax
            else { return nil }
            state.unauthenticated[address, default: 0] += 1
            state.incomingCount += 1
            return .some(state.incarnation)
        }
        guard let incarnation else { throw LinkRefusals.Full() }
        if let tls = self.configuration.tls { try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls.server)) }
        let machine = LinkMachine(
            .incoming, identity: incarnation.map(self.identity), to: nil, accepted: self.uses, nonce: LinkHello.makeNonce(), secret: self.configuration.secret,
            limits: self.limits,
            now: LinkHandler.now)
        let handler = LinkHandler(peer: nil, attempt: 0, machine: machine, limits: self.limits, links: self)
        let serial = handler.serial
        var connection = Connection(direction: .incoming, channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        connection.address = address
        self.state.withLockedValue { [connection] in $0.connections[serial] = connection }
        channel.closeFuture.whenComplete { _ in
            self.state.withLockedValue { state in
                if state.connections.removeValue(forKey: serial)?.identity == nil { state.removeUnauthenticated(address) }
                state.incomingCount -= 1
            }
        }
        try channel.pipeline.syncOperations.addHandler(handler)
    }

    /// Called under the lock. Ends every incoming connection, authenticated or not.
    func dismissAll(_ state: inout State) -> [Effect] {
        var effects: [Effect] = []
        for (serial, connection) in state.connections where connection.direction == .incoming {
            self.lower(serial, .closed, &state)
            effects.append(.dismiss(connection.handler))
        }
        return effects
    }

    /// Called under the lock when an incoming link goes down.
    private func lower(_ serial: UInt64, _ loss: LinkLoss, _ state: inout State) {
        guard let connection = state.connections[serial], connection.isUp, let identity = connection.identity else { return }
        state.connections[serial]!.isUp = false
        let key = Key(id: identity.id, use: connection.use)
        if state.incoming[key] == serial { state.incoming[key] = nil }
        if connection.use == .control { self.inbox.put(.down(identity.process, .incoming, loss)) }
    }

    // MARK: - From the connections, on their loops

    /// Returns false if the connection is no longer needed.
    func opened(_ handler: LinkHandler, _ channel: any Channel) -> Bool {
        guard let peer = handler.peer else { return true }
        var connection = Connection(direction: .outgoing, channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop))
        let key = Key(id: peer.id, use: handler.use)
        connection.peer = key
        connection.attempt = handler.attempt
        let serial = handler.serial
        let isWanted = self.state.withLockedValue { [connection] state in
            guard state.peers[key]?.peer.process == peer, state.peers[key]!.dial.connected(connection.attempt) else { return false }
            state.peers[key]!.serial = serial
            state.connections[serial] = connection
            return true
        }
        if isWanted { channel.closeFuture.whenComplete { _ in self.state.withLockedValue { _ = $0.connections.removeValue(forKey: serial) } } }
        return isWanted
    }

    /// Called when the peer is authenticated. If the link must be refused nevertheless, returns the reason.
    func didOpen(_ serial: UInt64, _ identity: LinkIdentity, _ use: LinkUse, _ protocolVersion: Int) -> String? {
        let (objection, effects): (String?, [Effect]) = self.state.withLockedValue { state in
            guard let connection = state.connections[serial] else { return ("", []) }
            if connection.direction == .incoming, connection.identity == nil { state.removeUnauthenticated(connection.address) }
            state.connections[serial]!.identity = identity
            state.connections[serial]!.use = use
            state.connections[serial]!.protocolVersion = protocolVersion
            switch connection.direction {
            case .outgoing:
                guard let key = connection.peer, state.peers[key]?.serial == serial else { return ("", []) }
                state.connections[serial]!.isUp = true
                return (nil, self.apply(key, state.peers[key]!.dial.didOpen(connection.attempt, now: LinkHandler.now / 1000), &state))
            case .incoming:
                guard !state.isClosed else { return ("", []) }
                var effects: [Effect] = []
                let key = Key(id: identity.id, use: use)
                if let other = state.incoming[key], let rival = state.connections[other], let known = rival.identity {
                    // The connection of the newer process is kept. If both connections are from one process, the newer connection is kept.
                    guard identity.process.incarnation >= known.process.incarnation else {
                        return ("a newer process of \(identity.id) is connected: incarnation \(known.process.incarnation)", [])
                    }
                    self.lower(other, .closed, &state)
                    effects.append(.dismiss(rival.handler))
                }
                state.connections[serial]!.isUp = true
                state.connections[serial]!.changedAt = .now()
                state.incoming[key] = serial
                if use == .control { self.inbox.put(.up(identity.process, .incoming)) }
                return (nil, effects)
            }
        }
        self.perform(effects)
        return objection
    }

    /// Returns false if the inbox is full.
    func received(_ serial: UInt64, viewVersion: Int64, _ payload: [UInt8]) -> Bool {
        self.put(serial) { .received(from: $0.process, viewVersion: viewVersion, payload: payload) }
    }

    func peerView(_ serial: UInt64, _ version: Int64) -> Bool {
        self.put(serial) { .viewVersion(from: $0.process, version) }
    }

    /// Events of a connection that is no longer up are ignored.
    private func put(_ serial: UInt64, _ event: (LinkIdentity) -> LinkEvent) -> Bool {
        self.state.withLockedValue { state in
            guard let connection = state.connections[serial], connection.isUp, connection.use == .control, let identity = connection.identity else {
                return true
            }
            return self.inbox.put(event(identity))
        }
    }

    func measured(_ serial: UInt64, roundTrip: Int) { self.state.withLockedValue { $0.connections[serial]?.roundTrip = roundTrip } }

    /// Called when the connection ends.
    func didClose(_ serial: UInt64, _ loss: LinkLoss) {
        let effects: [Effect] = self.state.withLockedValue { state in
            guard let connection = state.connections[serial] else { return [] }
            switch connection.direction {
            case .outgoing:
                state.connections[serial]!.isUp = false
                guard let key = connection.peer, state.peers[key]?.serial == serial else { return [] }
                state.peers[key]!.serial = nil
                return self.fall(key, connection.attempt, loss, &state)
            case .incoming:
                self.lower(serial, loss, &state)
                if case .rejected(let reason) = loss { self.refused(reason, connection.channel.remoteAddress?.ipAddress ?? "?", &state) }
                return []
            }
        }
        self.perform(effects)
    }

    /// Logs a refusal. A refused peer tries again, and its repeated refusals are not logged.
    private func refused(_ reason: String, _ host: String, _ state: inout State) {
        guard state.refused.isNew("\(host) \(reason)", now: .now()) else { return }
        self.logger.warning("a link was refused", metadata: ["from": "\(host)", "reason": "\(reason)"])
    }

    // MARK: - Status

    /// All control links, each with the state of the data connection beside it. Outgoing links come first. Both groups are sorted by id.
    package var states: [LinkStatus] {
        let now = NIODeadline.now()
        return self.state.withLockedValue { state in
            let outgoing = state.peers.filter { $0.key.use == .control }.values.sorted { $0.peer.id < $1.peer.id }.map { peer in
                let connection = peer.serial.flatMap { state.connections[$0] }
                return LinkStatus(
                    peer: peer.peer.process, direction: .outgoing, address: peer.peer.address, isUp: peer.dial.isUp,
                    isDataUp: self.receiver == nil ? nil : state.peers[Key(id: peer.peer.process.id, use: .data)]?.dial.isUp ?? false,
                    milliseconds: Int((now - peer.changedAt).nanoseconds / 1_000_000), loss: peer.dial.lastLoss, roundTripMicroseconds: connection?.roundTrip,
                    queuedBytes: connection?.queuedBytes ?? 0, droppedMessages: peer.dropped, protocolVersion: connection?.protocolVersion)
            }
            let incoming = state.incoming.filter { $0.key.use == .control }.sorted { $0.key.id < $1.key.id }.compactMap { _, serial -> LinkStatus? in
                state.connections[serial].flatMap { connection in
                    guard let identity = connection.identity else { return nil }
                    return LinkStatus(
                        peer: identity.process, direction: .incoming, isUp: connection.isUp,
                        isDataUp: self.receiver == nil
                            ? nil : state.incoming[Key(id: identity.process.id, use: .data)].flatMap { state.connections[$0]?.isUp } ?? false,
                        milliseconds: Int((now - connection.changedAt).nanoseconds / 1_000_000), roundTripMicroseconds: connection.roundTrip,
                        protocolVersion: connection.protocolVersion)
                }
            }
            return outgoing + incoming
        }
    }
}

extension Links.State {
    /// Called when the connection is authenticated or has closed.
    mutating func removeUnauthenticated(_ address: String) {
        guard let count = self.unauthenticated[address] else { return }
        self.unauthenticated[address] = count > 1 ? count - 1 : nil
    }
}
