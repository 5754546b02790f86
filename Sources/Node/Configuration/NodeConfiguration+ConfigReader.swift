import Configuration
import Logging
import Pipeline
import Sockets
import Storage

extension NodeConfiguration {
    /// Reads every key that the reader has. The other keys keep their defaults. `ConfigurationSource` has checked types and ranges.
    ///
    /// ## Configuration keys:
    /// - `id`, `listen`, `api`, `data`, `log`, `durability`, `log-level` (string, optional)
    /// - `loops` (int, optional)
    /// - `cors-origins` (string array, optional)
    /// - `api-token` (string, optional, secret)
    /// - `zookeeper`, `cluster`, `zone`, `zookeeper-user`, `zookeeper-password`, `link`, `link-advertise`, `link-secret`, `link-cert`, `link-key`,
    ///   `link-ca` (string, optional; `zookeeper-password` and `link-secret` are secret)
    /// - `weight` (double, optional), `partitions`, `zookeeper-session-seconds` (int, optional)
    /// - `redis`, `redis-password`, `redis-cert`, `redis-key`, `redis-ca` (string, optional; `redis` and `redis-password` are secret)
    /// - `redis-replicas-min`, `redis-replica-milliseconds-max` (int, optional)
    /// - one key for each of `LimitKey.all` (int, optional)
    init(config: ConfigReader) {
        self.init()
        self.id = config.string(forKey: "id", default: self.id)
        self.listen = config.string(forKey: "listen").flatMap { ListenAddress($0) } ?? self.listen
        self.api = config.string(forKey: "api").flatMap { ListenAddress($0) } ?? self.api
        self.data = config.string(forKey: "data", default: self.data)
        self.durability = config.string(forKey: "durability").flatMap { Durability(rawValue: $0) } ?? self.durability
        self.loops = config.int(forKey: "loops", default: self.loops)
        self.corsOrigins = config.stringArray(forKey: "cors-origins", default: self.corsOrigins)
        self.apiToken = config.string(forKey: "api-token", isSecret: true)
        self.logLevel = config.string(forKey: "log-level").flatMap { Logger.Level(rawValue: $0) } ?? self.logLevel
        self.cluster.zookeeper = config.string(forKey: "zookeeper")
        self.cluster.name = config.string(forKey: "cluster", default: self.cluster.name)
        self.cluster.zone = config.string(forKey: "zone", default: self.cluster.zone)
        self.cluster.weight = config.double(forKey: "weight", default: self.cluster.weight)
        self.cluster.partitions = config.int(forKey: "partitions", default: self.cluster.partitions)
        self.cluster.sessionSeconds = config.int(forKey: "zookeeper-session-seconds", default: self.cluster.sessionSeconds)
        self.cluster.user = config.string(forKey: "zookeeper-user")
        self.cluster.password = config.string(forKey: "zookeeper-password", isSecret: true)
        self.cluster.link = config.string(forKey: "link").flatMap { ListenAddress($0) }
        self.cluster.linkAdvertise = config.string(forKey: "link-advertise").flatMap { ListenAddress($0) }
        self.cluster.linkSecret = config.string(forKey: "link-secret", isSecret: true)
        self.cluster.linkCertificate = config.string(forKey: "link-cert")
        self.cluster.linkKey = config.string(forKey: "link-key")
        self.cluster.linkAuthority = config.string(forKey: "link-ca")
        self.cluster.redis.servers = config.string(forKey: "redis", isSecret: true)
        self.cluster.redis.password = config.string(forKey: "redis-password", isSecret: true)
        self.cluster.redis.certificate = config.string(forKey: "redis-cert")
        self.cluster.redis.key = config.string(forKey: "redis-key")
        self.cluster.redis.authority = config.string(forKey: "redis-ca")
        self.cluster.redis.replicasMin = config.int(forKey: "redis-replicas-min", default: self.cluster.redis.replicasMin)
        self.cluster.redis.replicaMillisecondsMax = config.int(
            forKey: "redis-replica-milliseconds-max", default: self.cluster.redis.replicaMillisecondsMax)
        self.log = config.string(forKey: "log").flatMap { LogKind(rawValue: $0) } ?? (self.cluster.redis.servers == nil ? self.log : .redis)
        for limit in LimitKey.all {
            self.limits[keyPath: limit.path] = config.int(forKey: ConfigKey([limit.name]), default: self.limits[keyPath: limit.path])
        }
    }
}
