import Logging
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import Partitioning
import Sockets

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension Links {
    /// Effects to perform after the lock is released. The state may have changed by then. Attempt numbers and serials show whether an effect still applies.
    enum Effect {
        case dial(LinkPeer, LinkUse, attempt: Int, LinkIdentity)
        case dismiss(NIOLoopBound<LinkHandler>)
        case wait(Key, attempt: Int, milliseconds: Int)
        case log(LinkPeer, LinkUse, LinkLoss)
    }

    // MARK: - Under the lock

    /// Applies the actions of a peer's ``DialMachine`` to the state. Returns the effects to perform without the lock.
    func apply(_ key: Key, _ actions: [DialMachine.Action], _ state: inout State) -> [Effect] {
        guard let peer = state.peers[key]?.peer else { return [] }
        var effects: [Effect] = []
        for action in actions {
            switch action {
            case .dial(let attempt):
                guard let incarnation = state.incarnation else { continue }
                effects.append(.dial(peer, key.use, attempt: attempt, self.identity(incarnation)))
            case .drop:
                guard let serial = state.peers[key]!.serial.take(), let connection = state.connections[serial] else { continue }
                state.connections[serial]!.isUp = false
                effects.append(.dismiss(connection.handler))
            case .wait(let attempt, let milliseconds):
                effects.append(.wait(key, attempt: attempt, milliseconds: milliseconds))
            case .up:
                state.peers[key]!.changedAt = .now()
                // The receiver of data learns it from the connection.
                if key.use == .control { self.inbox.put(.up(peer.process, .outgoing)) }
            case .down(let loss, let isNew):
                if isNew { state.peers[key]!.changedAt = .now() }
                if key.use == .control { self.inbox.put(.down(peer.process, .outgoing, loss), isOptional: !isNew) }
            case .log(let loss):
                effects.append(.log(peer, key.use, loss))
            }
        }
        return effects
    }

    /// Removes a peer.
    func end(_ key: Key, _ state: inout State) -> [Effect] {
        guard state.peers[key] != nil else { return [] }
        defer { state.peers[key] = nil }
        return self.apply(key, state.peers[key]!.dial.end(), &state)
    }

    // MARK: - Without the lock

    func perform(_ effects: [Effect]) {
        for effect in effects {
            switch effect {
            case .dial(let peer, let use, let attempt, let identity):
                self.dial(peer, use, attempt, identity)
            case .dismiss(let handler):
                handler.eventLoop.execute { handler.value.dismiss("") }
            case .wait(let key, let attempt, let milliseconds):
                // If the peer was removed or dialled again in the meantime, `elapsed` returns no actions.
                self.group.next().scheduleTask(in: .milliseconds(Int64(milliseconds))) {
                    self.perform(self.state.withLockedValue { self.apply(key, $0.peers[key]?.dial.elapsed(attempt) ?? [], &$0) })
                }
            case .log(let peer, let use, let loss):
                let metadata: Logger.Metadata = [
                    "peer": "\(peer.id)", "incarnation": "\(peer.process.incarnation)", "address": "\(peer.address)", "use": "\(use.rawValue)",
                    "reason": "\(loss)",
                ]
                // Only a rejected link is a warning, because an operator must fix it. Peers that leave or die are reported when the view changes.
                if case .rejected = loss {
                    self.logger.warning("link is down", metadata: metadata)
                } else {
                    self.logger.info("link is down", metadata: metadata)
                }
            }
        }
    }

    private func dial(_ peer: LinkPeer, _ use: LinkUse, _ attempt: Int, _ identity: LinkIdentity) {
        let key = Key(id: peer.id, use: use)
        guard let address = ListenAddress(peer.address) else {
            return self.failed(key, attempt, .unreachable("\(LinkMachine.printable(Array(peer.address.utf8))) is not host:port"))
        }
        if let objection = self.configuration.objection(to: address) { return self.failed(key, attempt, .rejected(objection)) }
        let to = peer.process
        ClientBootstrap(group: self.group)
            .connectTimeout(.milliseconds(Int64(self.limits.handshakeMilliseconds)))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = self.configuration.tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls.client, serverHostname: nil))
                    }
                    // A name with several addresses creates several channels. The first channel that connects is used.
                    let machine = LinkMachine(
                        .outgoing, identity: identity, to: to, use: use, nonce: LinkHello.makeNonce(), secret: self.configuration.secret, limits: self.limits,
                        now: LinkHandler.now)
                    let handler = LinkHandler(peer: to, attempt: attempt, machine: machine, limits: self.limits, links: self)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .connect(host: address.host, port: address.port)
            .whenFailure { self.failed(key, attempt, Self.loss($0)) }
    }

    /// Called when the connection could not be opened. Does nothing if the attempt has already connected and closed.
    private func failed(_ key: Key, _ attempt: Int, _ loss: LinkLoss) {
        self.perform(
            self.state.withLockedValue { state in
                guard state.peers[key]?.dial.state == .dialling else { return [] }
                return self.fall(key, attempt, loss, &state)
            })
    }

    func fall(_ key: Key, _ attempt: Int, _ loss: LinkLoss, _ state: inout State) -> [Effect] {
        var generator = SystemRandomNumberGenerator()
        guard let actions = state.peers[key]?.dial.didClose(attempt, loss, now: LinkHandler.now / 1000, using: &generator) else { return [] }
        return self.apply(key, actions, &state)
    }

    /// A closed port means that the process is dead. Any other error may be a problem of the network.
    static func loss(_ error: any Error) -> LinkLoss {
        let errors = (error as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [error]
        let codes = errors.map { ($0 as? IOError)?.errnoCode }
        // A name such as `localhost` may have two addresses. The peer is dead only if all addresses refuse.
        if !codes.isEmpty, codes.allSatisfy({ $0 == ECONNREFUSED || $0 == ECONNRESET }) { return .refused }
        if let error = error as? NIOConnectionError, errors.isEmpty { return .unreachable("\(error.host) has no address: \(error.dnsAError ?? error)") }
        if errors.contains(where: { if case .connectTimeout? = $0 as? ChannelError { true } else { false } }) { return .unreachable("no response in time") }
        return .unreachable("\(errors.first ?? error)")
    }
}
