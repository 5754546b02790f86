import Storage

extension NodeConfiguration {
    /// Why the log does not fit the other keys. A member of a cluster chooses its log explicitly, because the logs promise different things.
    var logContradictions: [ConfigurationError.Problem] {
        let redis = self.cluster.redis
        guard self.cluster.zookeeper != nil else {
            if redis.servers != nil {
                return [
                    .init(
                        "redis is the log of a cluster's nodes: set zookeeper too, or remove redis: a node outside a cluster stores events in its data folder",
                        at: self.origins["redis"])
                ]
            }
            guard self.log == .redis else { return self.unusedRedisKeys }
            return [.init("log: redis is only for a member of a cluster: set zookeeper and redis, or log: sqlite", at: self.origins["log"])]
        }
        switch (self.log, redis.servers) {
        case (.sqlite, nil) where self.origins["log"] == nil:
            return [
                .init(
                    "a member of a cluster needs a log that the other nodes can continue. Set redis (redis://host:6379): events are stored on Redis, and no "
                        + "acknowledged event is lost when a node dies. Or set log: memory: events are stored only at their channel's owner. If the owner "
                        + "dies, its channels lose their history, and their subscribers receive a gap",
                    at: self.origins["zookeeper"])
            ]
        case (.sqlite, _):
            return [
                .init(
                    "log: sqlite stores events in the data folder of one node, and the next owner of a channel could not read them: set log: redis and redis, "
                        + "or log: memory",
                    at: self.origins["log"])
            ]
        case (.memory, .some):
            return [.init("log is memory, and redis is set: remove log to store events on Redis, or remove redis", at: self.origins["redis"])]
        case (.redis, nil):
            return [.init("log: redis needs the addresses of the servers: set redis, for example redis://10.0.0.21:6379", at: self.origins["log"])]
        case (.memory, nil): return self.unusedRedisKeys
        case (.redis, .some): return self.redisContradictions
        }
    }

    private var unusedRedisKeys: [ConfigurationError.Problem] {
        ["redis-password", "redis-password-file", "redis-cert", "redis-key", "redis-ca", "redis-replicas-min"].compactMap { name in
            self.origins[name].map { .init("\(name) is only for a log on Redis: set redis too, or remove \(name)", at: $0) }
        }
    }

    private var redisContradictions: [ConfigurationError.Problem] {
        let redis = self.cluster.redis
        let addresses: [RedisAddress]
        do throws(RedisAddressError) { addresses = try redis.addresses() } catch {
            return [
                .init(
                    "redis cannot have this value: \(error). Servers are separated by commas; a comma in a password is written %2C", at: self.origins["redis"])
            ]
        }
        var problems: [ConfigurationError.Problem] = []
        for (index, address) in addresses.enumerated() where addresses[..<index].contains(where: { $0.hostAndPort == address.hostAndPort }) {
            problems.append(.init("redis contains \(address.hostAndPort) twice: name each server once", at: self.origins["redis"]))
        }
        if (redis.certificate == nil) != (redis.key == nil) {
            problems.append(
                .init("redis-cert and redis-key belong together: set both, or neither", at: self.origins["redis-cert"] ?? self.origins["redis-key"]))
        }
        if !addresses.contains(where: \.isTLS), let name = ["redis-cert", "redis-key", "redis-ca"].first(where: { self.origins[$0] != nil }) {
            problems.append(
                .init("\(name) has no use without TLS: write rediss:// in the URLs of redis, or remove \(name)", at: self.origins[name]))
        }
        return problems
    }

    /// The settings of the log on Redis. Reads the PEM files.
    func redisLogSettings() throws(RedisAddressError) -> RedisLogSettings {
        let redis = self.cluster.redis
        var settings = RedisLogSettings(cluster: self.cluster.name, servers: try redis.addresses())
        settings.replicasMin = redis.replicasMin
        settings.replicaMillisecondsMax = redis.replicaMillisecondsMax
        if settings.servers.contains(where: \.isTLS) {
            settings.client.tls = try RedisTLS(
                authority: redis.authority, certificate: redis.certificate.flatMap { path in redis.key.map { (path: path, key: $0) } })
        }
        return settings
    }
}
