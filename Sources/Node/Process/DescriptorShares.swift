import Pipeline

/// The descriptors reserved for each kind of connection, so that one kind cannot use up the descriptors of another. A pure value.
struct DescriptorShares: Equatable, Sendable {
    /// The descriptors for subscribers' connections.
    let subscribers: Int
    /// The descriptors for connections of the API port.
    let api: Int
    /// The descriptors for each port's connections above its limit. Such a connection stays open until its refusal is sent.
    let refusals: Int
    /// The descriptors for connections with other nodes, in both directions. 0 for a node outside a cluster.
    let links: Int

    /// The descriptors for the log's files, the listeners, standard streams, and accepted connections that are not counted yet.
    private static let processDescriptors = 40
    private static let loopDescriptors = 3
    /// The descriptors for resolving names, and for two ZooKeeper sessions, because a new session begins before the old session has ended.
    private static let zooKeeperDescriptors = 16
    private static let linksMin = 32
    /// The descriptors for four connections with each of 1,000 nodes, and for unauthenticated peers. Two of the four are this node's own: one for control
    /// messages, and one for events.
    private static let linksMax = 4064

    /// - Parameters:
    ///   - descriptors: the number that the system allows this process.
    ///   - redisServers: each loop has one connection to each of them. While it is replaced, the old one may not be closed yet.
    ///   - isAPIMaxGiven: an operator has set `api-connections-max`. The node never reduces this value. It reduces the default if descriptors are scarce.
    init(descriptors: Int, limits: Limits, loops: Int, isMember: Bool, redisServers: Int, isAPIMaxGiven: Bool) throws(NodeError) {
        self.refusals = min(200, descriptors / 16)
        self.links = isMember ? min(Self.linksMax, max(Self.linksMin, descriptors / 8)) : 0
        self.api = isAPIMaxGiven ? limits.apiConnectionsMax : min(limits.apiConnectionsMax, max(1, descriptors / 8))
        let own = Self.processDescriptors + loops * Self.loopDescriptors + (isMember ? Self.zooKeeperDescriptors : 0) + 2 * loops * redisServers
        let available = descriptors - own - self.links - 2 * self.refusals - self.api
        guard available > 0 else {
            throw NodeError(
                "the limit of \(descriptors) descriptors is too low. The node itself needs \(own), links \(self.links), API connections \(self.api) and "
                    + "refusals \(2 * self.refusals), so no descriptors are left for subscribers. Raise the limit (ulimit -n, LimitNOFILE=)"
                    + (isAPIMaxGiven ? ", or lower api-connections-max" : ""))
        }
        guard limits.connectionsMax <= available else {
            throw NodeError(
                "connections-max is \(limits.connectionsMax), but the limit of \(descriptors) descriptors allows only \(available): raise the limit (ulimit -n, LimitNOFILE=) or lower connections-max"
            )
        }
        self.subscribers = limits.connectionsMax == 0 ? available : limits.connectionsMax
    }
}
