import JSON
import Partitioning

extension LinkMachine {
    mutating func handleHello(_ payload: [UInt8]) -> [Action] {
        guard let own = self.identity else { return self.refuse("this node is not a member yet") }
        let peer: LinkHello
        do throws(JSONError) { peer = try LinkHello(json: payload) } catch { return self.malformed(error.description) }
        if let reason = self.objection(to: peer.identity, own) { return self.refuse(reason) }
        guard peer.to == own.process else {
            return self.refuse("\(peer.identity.id) dialled \(peer.to.map(\.description) ?? "no node") and reached \(own.process)")
        }
        guard self.accepted.contains(peer.use) else { return self.refuse("\(own.id) accepts no connections for \(peer.use.rawValue)") }
        self.use = peer.use
        self.state = .awaitingProof(peer, hello: payload)
        return [.send(.challenge, self.ownHello)]
    }

    mutating func handleChallenge(_ payload: [UInt8]) -> [Action] {
        guard let own = self.identity else { return self.refuse("this node is not a member yet") }
        let peer: LinkHello
        do throws(JSONError) { peer = try LinkHello(json: payload) } catch { return self.malformed(error.description) }
        if let reason = self.objection(to: peer.identity, own) { return self.refuse(reason) }
        let reached = peer.identity.process
        guard let to = self.to, reached == to else {
            return self.refuse("\(own.id) dialled \(self.to.map(\.description) ?? "no node") and reached \(reached)")
        }
        self.state = .proofSent(peer, challenge: payload)
        return [.send(.proof, self.secret?.proof(by: .outgoing, hello: self.ownHello, challenge: payload) ?? [])]
    }

    mutating func handleProof(_ payload: [UInt8], _ peer: LinkHello, _ hello: [UInt8]) -> [Action] {
        if !self.proves(payload, by: .outgoing, hello: hello, challenge: self.ownHello) { return self.refuseSecret(of: peer, payload) }
        let reply = self.secret?.proof(by: .incoming, hello: hello, challenge: self.ownHello) ?? []
        return [.send(.ready, reply)] + self.open(peer)
    }

    mutating func handleReady(_ frame: LinkFrame, _ peer: LinkHello, _ challenge: [UInt8]) -> [Action] {
        if !self.proves(frame.payload, by: .incoming, hello: self.ownHello, challenge: challenge) { return self.refuseSecret(of: peer, frame.payload) }
        return self.open(peer) + self.view(of: frame)
    }

    /// A node without a secret refuses a peer with a secret, because a cluster in which only some nodes have a secret is misconfigured.
    private func proves(_ proof: [UInt8], by side: LinkDirection, hello: [UInt8], challenge: [UInt8]) -> Bool {
        guard let secret = self.secret else { return proof.isEmpty }
        return secret.isProof(proof, by: side, hello: hello, challenge: challenge)
    }

    private mutating func refuseSecret(of peer: LinkHello, _ proof: [UInt8]) -> [Action] {
        let (id, me) = (peer.identity.id, self.identity?.id ?? "this node")
        if proof.isEmpty { return self.refuse("\(me) has a link secret and \(id) has none: give all nodes the same secret") }
        if self.secret == nil { return self.refuse("\(id) has a link secret and \(me) has none: give all nodes the same secret") }
        return self.refuse("\(id) and \(me) have different link secrets: give all nodes the same secret")
    }

    private func objection(to peer: LinkIdentity, _ own: LinkIdentity) -> String? {
        if peer.cluster != own.cluster { return "\(peer.id) belongs to cluster \(peer.cluster), but \(own.id) belongs to cluster \(own.cluster)" }
        if !peer.protocols.overlaps(own.protocols) {
            return "\(peer.id) (\(peer.version)) supports link protocols \(peer.protocols), but \(own.id) (\(own.version)) supports \(own.protocols)"
        }
        // ZooKeeper admits only one process of each id. The peer may be an old process of this node.
        if peer.id == own.id { return "both nodes have the id \(peer.id)" }
        return nil
    }
}
