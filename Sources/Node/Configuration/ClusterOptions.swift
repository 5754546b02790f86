package import Sockets

/// What a node is told about the cluster it joins. Without `zookeeper` it is alone, and none of this matters.
package struct ClusterOptions: Sendable, Equatable {
    /// `host:port`, separated by commas. Nil for a node that is alone.
    package var zookeeper: String?
    /// Clusters of different names in one ZooKeeper know nothing of each other.
    package var name = "realertime"
    package var zone = ""
    package var weight = 1.0
    /// Of a cluster that this node is the first of.
    package var partitions = 256
    package var sessionSeconds = 6
    package var user: String?
    /// Secret: never printed.
    package var password: String?
    /// Where the other nodes come in.
    package var link: ListenAddress?
    /// What they are told to dial, if that is another address than the one that is bound.
    package var linkAdvertise: ListenAddress?
    /// Secret: never printed.
    package var linkSecret: String?
    package var linkCertificate: String?
    package var linkKey: String?
    package var linkAuthority: String?
}

extension ConfigurationKey {
    /// The keys of a cluster's member.
    static let cluster = [
        ConfigurationKey(
            name: "zookeeper", kind: .text,
            help:
                "ZooKeeper's servers, host:port or [v6]:port with commas between them, and a path (/chroot) if the cluster is to be under one. Joins a cluster; without it the node is alone.",
            text: { $0.cluster.zookeeper }),
        ConfigurationKey(
            name: "cluster", kind: .nodeID, help: "The cluster's name in ZooKeeper, under /rt.", text: { $0.cluster.name }),
        ConfigurationKey(
            name: "zone", kind: .nodeID, help: "Where this node stands, so that each zone owns its share.",
            text: { $0.cluster.zone.isEmpty ? nil : $0.cluster.zone }),
        ConfigurationKey(
            name: "weight", kind: .number(0...1000), help: "Its share of the partitions, relative to the other nodes. 0 owns none.",
            text: { String($0.cluster.weight) }),
        ConfigurationKey(
            name: "partitions", kind: .integer(1...16_384, unit: "partitions"),
            help: "Partitions of a new cluster, fixed when its first node starts. Later nodes take what is there.", text: { String($0.cluster.partitions) }),
        ConfigurationKey(
            name: "zookeeper-session-seconds", kind: .integer(2...60, unit: "seconds"),
            help: "How long ZooKeeper waits for a silent node before its partitions go to others.", text: { String($0.cluster.sessionSeconds) }),
        ConfigurationKey(
            name: "zookeeper-user", kind: .nodeID,
            help: "The user of ZooKeeper's digest scheme. With it only this user's nodes may read and write the cluster's.",
            text: { $0.cluster.user }),
        ConfigurationKey(
            name: "zookeeper-password", kind: .text,
            help: "That user's password. As a flag other users of the machine can see it: prefer zookeeper-password-file.", isSecret: true,
            text: { $0.cluster.password }),
        ConfigurationKey(
            name: "zookeeper-password-file", kind: .text, help: "A file whose first line is that password.",
            text: { $0.secretFiles["zookeeper-password-file"] }),
        ConfigurationKey(
            name: "link", kind: .address, help: "Where the cluster's other nodes come in. Beyond loopback it needs link-secret-file or link-cert.",
            text: { $0.cluster.link?.description }),
        ConfigurationKey(
            name: "link-advertise", kind: .address, help: "The address that the other nodes dial, if it is not the one of link.",
            text: { $0.cluster.linkAdvertise?.description }),
        ConfigurationKey(
            name: "link-secret", kind: .text,
            help:
                "At least 16 bytes that all nodes of the cluster know and nobody else. As a flag other users of the machine can see it: prefer link-secret-file.",
            isSecret: true, text: { $0.cluster.linkSecret }),
        ConfigurationKey(
            name: "link-secret-file", kind: .text, help: "A file whose first line is the link secret.",
            text: { $0.secretFiles["link-secret-file"] }),
        ConfigurationKey(
            name: "link-cert", kind: .text, help: "This node's certificate for mutual TLS between nodes, a PEM file.", text: { $0.cluster.linkCertificate }),
        ConfigurationKey(name: "link-key", kind: .text, help: "Its private key, a PEM file.", text: { $0.cluster.linkKey }),
        ConfigurationKey(
            name: "link-ca", kind: .text, help: "The authority that signed all nodes' certificates, a PEM file.", text: { $0.cluster.linkAuthority }),
    ]
}
