import Pipeline

/// How many descriptors each kind of connection may take, so that none takes those of another. A pure value.
struct DescriptorShares: Equatable, Sendable {
    /// Subscribers' connections.
    let subscribers: Int
    /// Connections of the API port.
    let api: Int
    /// Connections of either port over its limit, which are open for a moment to be refused with a sentence.
    let refusals: Int
    /// Links with other nodes, those that this node dials and those that are dialled to it. 0 for a node that is alone.
    let links: Int

    /// The log's files, the listeners, standard streams, and connections that are accepted and not counted yet.
    private static let processDescriptors = 40
    private static let loopDescriptors = 3
    /// Two sessions at once, while one takes over from another, with what resolves their names.
    private static let zooKeeperDescriptors = 16
    private static let linksMin = 32
    /// To each of 1,000 nodes and from it, and those that have not proved who they are.
    private static let linksMax = 2064

    /// - Parameters:
    ///   - descriptors: what the system allows this process.
    ///   - isAPIMaxGiven: an operator has set `api-connections-max`: it is kept, or this fails. The default gives way.
    init(descriptors: Int, limits: Limits, loops: Int, isMember: Bool, isAPIMaxGiven: Bool) throws(NodeError) {
        self.refusals = min(200, descriptors / 16)
        self.links = isMember ? min(Self.linksMax, max(Self.linksMin, descriptors / 16)) : 0
        self.api = isAPIMaxGiven ? limits.apiConnectionsMax : min(limits.apiConnectionsMax, max(1, descriptors / 8))
        let own = Self.processDescriptors + loops * Self.loopDescriptors + (isMember ? Self.zooKeeperDescriptors : 0)
        let room = descriptors - own - self.links - 2 * self.refusals - self.api
        guard room > 0 else {
            throw NodeError(
                "\(descriptors) descriptors are not enough: \(own) for the node itself, \(self.links) for links, \(self.api) for API connections and "
                    + "\(2 * self.refusals) for refusals leave none for subscribers: raise the limit (ulimit -n, LimitNOFILE=)"
                    + (isAPIMaxGiven ? ", or lower api-connections-max" : ""))
        }
        guard limits.connectionsMax <= room else {
            throw NodeError(
                "connections-max is \(limits.connectionsMax), but \(descriptors) descriptors leave room for \(room): raise the limit (ulimit -n, LimitNOFILE=) or lower connections-max"
            )
        }
        self.subscribers = limits.connectionsMax == 0 ? room : limits.connectionsMax
    }
}
