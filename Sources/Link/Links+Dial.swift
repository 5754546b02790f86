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
    /// What is to be done when the lock is not held any more. All of it may come late: attempts and serials tell what is still meant.
    enum Work {
        case dial(LinkPeer, attempt: Int, LinkIdentity)
        case dismiss(NIOLoopBound<LinkHandler>)
        case wait(id: String, attempt: Int, milliseconds: Int)
        case log(LinkPeer, LinkLoss)
    }

    // MARK: - Under the lock

    /// Executes what a peer's ``DialMachine`` decided, as far as the state goes.
    func settle(_ id: String, _ actions: [DialMachine.Action], _ state: inout State) -> [Work] {
        guard let peer = state.peers[id]?.peer else { return [] }
        var work: [Work] = []
        for action in actions {
            switch action {
            case .dial(let attempt):
                guard let incarnation = state.incarnation else { continue }
                work.append(.dial(peer, attempt: attempt, self.identity(incarnation)))
            case .drop:
                guard let serial = state.peers[id]!.serial.take(), let connection = state.connections[serial] else { continue }
                state.connections[serial]!.isUp = false
                work.append(.dismiss(connection.handler))
            case .wait(let attempt, let milliseconds):
                work.append(.wait(id: id, attempt: attempt, milliseconds: milliseconds))
            case .up:
                state.peers[id]!.changedAt = .now()
                self.inbox.put(.up(id: id, incarnation: peer.incarnation, .outgoing))
            case .down(let loss, let isNews):
                if isNews { state.peers[id]!.changedAt = .now() }
                self.inbox.put(.down(id: id, incarnation: peer.incarnation, .outgoing, loss), isOptional: !isNews)
            case .log(let loss):
                work.append(.log(peer, loss))
            }
        }
        return work
    }

    /// Lets go of a peer.
    func end(_ id: String, _ state: inout State) -> [Work] {
        guard state.peers[id] != nil else { return [] }
        defer { state.peers[id] = nil }
        return self.settle(id, state.peers[id]!.dial.end(), &state)
    }

    // MARK: - Without the lock

    func carryOut(_ work: [Work]) {
        for work in work {
            switch work {
            case .dial(let peer, let attempt, let identity):
                self.dial(peer, attempt, identity)
            case .dismiss(let handler):
                handler.eventLoop.execute { handler.value.dismiss("") }
            case .wait(let id, let attempt, let milliseconds):
                // A peer that is gone by then, or dialled again for another reason, ignores it.
                self.group.next().scheduleTask(in: .milliseconds(Int64(milliseconds))) {
                    self.carryOut(self.state.withLockedValue { self.settle(id, $0.peers[id]?.dial.elapsed(attempt) ?? [], &$0) })
                }
            case .log(let peer, let loss):
                let metadata: Logger.Metadata = ["peer": "\(peer.id)", "incarnation": "\(peer.incarnation)", "address": "\(peer.address)", "reason": "\(loss)"]
                // A peer that leaves or is dead is told by the view; one that cannot be spoken to needs a person.
                if case .rejected = loss { self.logger.warning("no link", metadata: metadata) } else { self.logger.info("no link", metadata: metadata) }
            }
        }
    }

    private func dial(_ peer: LinkPeer, _ attempt: Int, _ identity: LinkIdentity) {
        guard let address = ListenAddress(peer.address) else {
            return self.failed(peer.id, attempt, .unreachable("\(LinkMachine.printable(Array(peer.address.utf8))) is not host:port"))
        }
        if let objection = self.configuration.objection(to: address) { return self.failed(peer.id, attempt, .rejected(objection)) }
        let to = ProcessID(id: peer.id, incarnation: peer.incarnation)
        ClientBootstrap(group: self.group)
            .connectTimeout(.milliseconds(Int64(self.limits.handshakeMilliseconds)))
            .channelOption(.socketOption(.so_keepalive), value: 1)
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls = self.configuration.tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: tls.client, serverHostname: nil))
                    }
                    // A name with several addresses makes several channels; the first that connects is the attempt's.
                    let machine = LinkMachine(
                        .outgoing, identity: identity, to: to, nonce: LinkHello.makeNonce(), secret: self.configuration.secret, limits: self.limits,
                        now: LinkHandler.now)
                    let handler = LinkHandler(peer: to, attempt: attempt, machine: machine, limits: self.limits, links: self)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
            .connect(host: address.host, port: address.port)
            .whenFailure { self.failed(peer.id, attempt, Self.loss($0)) }
    }

    /// It could not be connected. One that was, and fell before this is heard, is not dialling any more, and this is ignored.
    private func failed(_ id: String, _ attempt: Int, _ loss: LinkLoss) {
        self.carryOut(
            self.state.withLockedValue { state in
                guard state.peers[id]?.dial.state == .dialling else { return [] }
                return self.fall(id, attempt, loss, &state)
            })
    }

    func fall(_ id: String, _ attempt: Int, _ loss: LinkLoss, _ state: inout State) -> [Work] {
        var generator = SystemRandomNumberGenerator()
        guard let actions = state.peers[id]?.dial.fell(attempt, loss, now: LinkHandler.now / 1000, using: &generator) else { return [] }
        return self.settle(id, actions, &state)
    }

    /// A closed port means that the process is dead. Everything else may be the way there.
    static func loss(_ error: any Error) -> LinkLoss {
        let errors = (error as? NIOConnectionError)?.connectionErrors.map(\.error) ?? [error]
        let codes = errors.map { ($0 as? IOError)?.errnoCode }
        // `localhost` may have two addresses.
        if !codes.isEmpty, codes.allSatisfy({ $0 == ECONNREFUSED || $0 == ECONNRESET }) { return .refused }
        if let error = error as? NIOConnectionError, errors.isEmpty { return .unreachable("\(error.host) has no address: \(error.dnsAError ?? error)") }
        if errors.contains(where: { if case .connectTimeout? = $0 as? ChannelError { true } else { false } }) { return .unreachable("no answer in time") }
        return .unreachable("\(errors.first ?? error)")
    }
}
