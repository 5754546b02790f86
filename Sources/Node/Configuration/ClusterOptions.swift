package import Sockets
import Storage

/// The configuration of a member of a cluster. Without `zookeeper` the node is in no cluster, and the other keys are not used.
package struct ClusterOptions: Sendable, Equatable {
    /// `host:port`, separated by commas. Nil for a node outside a cluster.
    package var zookeeper: String?
    /// Clusters with different names in one ZooKeeper are independent.
    package var name = "realertime"
    package var zone = ""
    package var weight = 1.0
    /// The number of partitions. Only the first node of a new cluster uses this value.
    package var partitions = 256
    package var sessionSeconds = 6
    package var user: String?
    /// Secret: never printed.
    package var password: String?
    /// The address on which other nodes connect.
    package var link: ListenAddress?
    /// The address that other nodes dial, if it differs from the value of `link`.
    package var linkAdvertise: ListenAddress?
    /// Secret: never printed.
    package var linkSecret: String?
    package var linkCertificate: String?
    package var linkKey: String?
    package var linkAuthority: String?
    package var redis = RedisOptions()
}

/// The servers of a log on Redis, and how to connect to them.
package struct RedisOptions: Sendable, Equatable {
    /// URLs, separated by commas. Secret: may contain passwords. Nil if there is no log on Redis.
    package var servers: String?
    /// The password for the servers whose URLs have none. Secret: never printed.
    package var password: String?
    package var certificate: String?
    package var key: String?
    package var authority: String?
    /// The number of replicas that must confirm a commit.
    package var replicasMin = 0
    package var replicaMillisecondsMax = 500

    /// The servers, in order. The URLs are separated by commas.
    func addresses() throws(RedisAddressError) -> [RedisAddress] {
        var addresses: [RedisAddress] = []
        for url in (self.servers ?? "").split(separator: ",", omittingEmptySubsequences: false) {
            addresses.append(try RedisAddress(String(url.drop { $0 == " " }), password: self.password))
        }
        return addresses
    }

    /// The servers without their passwords. Nil if there are none.
    var shown: String? {
        self.servers.map { _ in (try? self.addresses()).map { $0.map(\.description).joined(separator: ",") } ?? "not valid, not shown" }
    }
}

extension ConfigurationKey {
    /// The keys of a member of a cluster.
    static let cluster = [
        ConfigurationKey(
            name: "zookeeper", kind: .text,
            help:
                "ZooKeeper's servers: host:port or [v6]:port, separated by commas, optionally followed by a path (/chroot). With this key the node joins a cluster.",
            text: { $0.cluster.zookeeper }),
        ConfigurationKey(
            name: "cluster", kind: .nodeID, help: "The cluster's name in ZooKeeper, under /rt.", text: { $0.cluster.name }),
        ConfigurationKey(
            name: "zone", kind: .nodeID,
            help: "The failure domain of this node, such as a rack. The nodes of a zone together get the zone's share of the partitions, by weight.",
            text: { $0.cluster.zone.isEmpty ? nil : $0.cluster.zone }),
        ConfigurationKey(
            name: "weight", kind: .number(0...1000),
            help: "The node's share of the partitions, relative to the other nodes. A node with weight 0 owns no partitions.",
            text: { String($0.cluster.weight) }),
        ConfigurationKey(
            name: "partitions", kind: .integer(1...16_384, unit: "partitions"),
            help: "The number of partitions of a new cluster. The first node sets the number; later nodes use the cluster's number.",
            text: { String($0.cluster.partitions) }),
        ConfigurationKey(
            name: "zookeeper-session-seconds", kind: .integer(2...60, unit: "seconds"),
            help: "How long ZooKeeper waits for a silent node before the node's partitions are granted to other nodes.",
            text: { String($0.cluster.sessionSeconds) }),
        ConfigurationKey(
            name: "zookeeper-user", kind: .nodeID,
            help: "The user for ZooKeeper's digest authentication. If set, only this user may read and write the cluster's znodes.",
            text: { $0.cluster.user }),
        ConfigurationKey(
            name: "zookeeper-password", kind: .text,
            help: "The password of zookeeper-user. Other users of the machine can see the value of a flag: prefer zookeeper-password-file.",
            isSecret: true,
            text: { $0.cluster.password }),
        ConfigurationKey(
            name: "zookeeper-password-file", kind: .text, help: "A file whose first line is the password of zookeeper-user.",
            text: { $0.secretFiles["zookeeper-password-file"] }),
        ConfigurationKey(
            name: "link", kind: .address,
            help: "The address on which the other nodes connect. "
                + "If other machines can reach this address, link-secret-file or link-cert is required.",
            text: { $0.cluster.link?.description }),
        ConfigurationKey(
            name: "link-advertise", kind: .address,
            help: "The address of this node for the other nodes. Only needed if they cannot connect to the address in link, such as 0.0.0.0.",
            text: { $0.cluster.linkAdvertise?.description }),
        ConfigurationKey(
            name: "link-secret", kind: .text,
            help:
                "A secret of at least 16 bytes that only the cluster's nodes know. Other users of the machine can see the value of a flag: prefer link-secret-file.",
            isSecret: true, text: { $0.cluster.linkSecret }),
        ConfigurationKey(
            name: "link-secret-file", kind: .text, help: "A file whose first line is the link secret.",
            text: { $0.secretFiles["link-secret-file"] }),
        ConfigurationKey(
            name: "link-cert", kind: .text, help: "This node's certificate for mutual TLS between nodes, a PEM file.", text: { $0.cluster.linkCertificate }),
        ConfigurationKey(name: "link-key", kind: .text, help: "The private key of link-cert, a PEM file.", text: { $0.cluster.linkKey }),
        ConfigurationKey(
            name: "link-ca", kind: .text, help: "The certificate authority that signed all nodes' certificates, a PEM file.",
            text: { $0.cluster.linkAuthority }),
        ConfigurationKey(
            name: "redis", kind: .servers,
            help:
                "The Redis servers of the cluster's log. Partition p is on server p modulo the number of servers, so every node needs the same servers in the "
                + "same order. With rediss:// the connections use TLS. Other users of the machine can see the value of a flag: prefer redis-password-file to a "
                + "password in the URL.",
            text: { $0.cluster.redis.shown }),
        ConfigurationKey(
            name: "redis-password", kind: .text,
            help: "The password for the servers whose URLs have none. Other users of the machine can see the value of a flag: prefer redis-password-file.",
            isSecret: true, text: { $0.cluster.redis.password }),
        ConfigurationKey(
            name: "redis-password-file", kind: .text, help: "A file whose first line is the password for the servers whose URLs have none.",
            text: { $0.secretFiles["redis-password-file"] }),
        ConfigurationKey(
            name: "redis-cert", kind: .text, help: "This node's certificate for Redis servers that require one, a PEM file.",
            text: { $0.cluster.redis.certificate }),
        ConfigurationKey(name: "redis-key", kind: .text, help: "The private key of redis-cert, a PEM file.", text: { $0.cluster.redis.key }),
        ConfigurationKey(
            name: "redis-ca", kind: .text,
            help: "The certificate authority that signed the Redis servers' certificates, a PEM file. Without it the system's authorities are trusted.",
            text: { $0.cluster.redis.authority }),
        ConfigurationKey(
            name: "redis-replicas-min", kind: .integer(0...10, unit: "replicas"),
            help: "The number of replicas of a Redis server that must confirm a commit. With 0 a commit does not wait for replicas.",
            text: { String($0.cluster.redis.replicasMin) }),
        ConfigurationKey(
            name: "redis-replica-milliseconds-max", kind: .integer(10...1500, unit: "milliseconds"),
            help:
                "How long a commit waits for redis-replicas-min replicas. Above the limit: the commit is repeated, and its publishers get 503 after a second.",
            text: { String($0.cluster.redis.replicaMillisecondsMax) }),
    ]
}
