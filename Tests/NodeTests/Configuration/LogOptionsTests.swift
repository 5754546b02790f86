import Foundation
import Storage
import TestKit
import Testing

@testable import Node

/// Which log a node may have, and the keys of the log on Redis.
@Suite struct LogOptionsTests {
    private static let member = ["zookeeper": "127.0.0.1:2181", "link": "127.0.0.1:8082"]

    private func load(_ flags: [String: String], isMember: Bool = true, environment: [String: String] = [:]) throws -> NodeConfiguration {
        try NodeConfiguration.load(
            flags: (isMember ? Self.member : [:]).merging(flags) { _, given in given }, environment: environment, file: nil)
    }

    private func problem(_ flags: [String: String], isMember: Bool = true, _ location: SourceLocation = #_sourceLocation) throws -> String {
        let error = try #require(throws: ConfigurationError.self, sourceLocation: location) { try self.load(flags, isMember: isMember) }
        #expect(error.problems.count == 1, "\(error)", sourceLocation: location)
        return error.description
    }

    // MARK: - The log

    @Test func theLogIsSQLiteOutsideAClusterAndRedisWithRedis() throws {
        #expect(try self.load([:], isMember: false).log == .sqlite)
        #expect(try self.load(["redis": "redis://10.0.0.21"]).log == .redis)
        #expect(try self.load(["redis": "redis://10.0.0.21", "log": "redis"]).log == .redis)
        #expect(try self.load(["log": "memory"]).log == .memory)
        #expect(try self.row("log", of: self.load(["redis": "redis://10.0.0.21"])) == ["redis", "--redis"])
    }

    @Test func aMemberChoosesItsLog() throws {
        let sentence = try self.problem([:])
        #expect(sentence.hasPrefix("--zookeeper: a member of a cluster needs a log that the other nodes can continue."))
        #expect(sentence.contains("Set redis (redis://host:6379)") && sentence.contains("no acknowledged event is lost when a node dies"))
        #expect(sentence.contains("Or set log: memory") && sentence.contains("their subscribers receive a gap"))
    }

    @Test func contradictionsSayWhatToChange() throws {
        #expect(try self.problem(["log": "sqlite"]).hasPrefix("--log: log: sqlite stores events in the data folder of one node"))
        #expect(try self.problem(["log": "sqlite", "redis": "redis://a"]).contains("set log: redis and redis, or log: memory"))
        #expect(try self.problem(["log": "redis"]).contains("log: redis needs the addresses of the servers: set redis, for example redis://10.0.0.21:6379"))
        #expect(try self.problem(["log": "memory", "redis": "redis://a"]).contains("remove log to store events on Redis, or remove redis"))
        #expect(try self.problem(["redis": "redis://a"], isMember: false).hasPrefix("--redis: redis is the log of a cluster's nodes: set zookeeper too"))
        #expect(try self.problem(["log": "redis"], isMember: false).contains("log: redis is only for a member of a cluster"))
        #expect(try self.problem(["log": "memory", "redis-ca": "ca.pem"]).contains("redis-ca is only for a log on Redis"))
        #expect(try self.problem(["redis-replicas-min": "1"], isMember: false).contains("redis-replicas-min is only for a log on Redis"))
    }

    // MARK: - The servers

    @Test(arguments: [
        ("10.0.0.21:6379", "begins with redis://"), ("redis://a,10.0.0.22", "begins with redis://"), ("redis://a,", "begins with redis://"),
        ("redis://", "has no host"), ("redis://a:0", "is not a number from 1 to 65535"), ("redis://u@a", "has a user and no password"),
        ("redis://a,redis://b,redis://a:6379", "redis contains a:6379 twice"),
    ]) func invalidServersAreRefused(_ given: (servers: String, sentence: String)) throws {
        let sentence = try self.problem(["redis": given.servers])
        #expect(sentence.hasPrefix("--redis: ") && sentence.contains(given.sentence), "\(sentence)")
    }

    @Test func noPasswordIsShown() throws {
        let configuration = try self.load(["redis": "redis://u:s3cret@a:7000/2, rediss://:s3cret%2C@[::1]"])
        #expect(self.row("redis", of: configuration) == ["redis://u@a:7000/2,rediss://[::1]:6379", "--redis"])
        #expect(!configuration.describe().contains("s3cret"))
        // A comma that ends a URL inside its password.
        #expect(try !self.problem(["redis": "redis://u:s3cret,s3cret@a"]).contains("s3cret"))
        #expect(try self.problem(["redis": "redis://u:s3cret,s3cret@a"]).contains("a comma in a password is written %2C"))
        let path = TemporaryFolder.path()
        try Data("zookeeper: a:1\nlink: 127.0.0.1:1\nredis: [redis://:s3cret@a, ''] \n".utf8).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(flags: [:], environment: [:], file: path) }
        #expect(error?.description.contains("redis cannot have this value: allowed is redis://") == true && error?.description.contains("s3cret") == false)
    }

    @Test func aFileMayListTheServers() throws {
        let path = TemporaryFolder.path()
        try Data("zookeeper: a:1\nlink: 127.0.0.1:1\nredis:\n  - redis://a\n  - redis://b:7000\n".utf8).write(to: URL(fileURLWithPath: path))
        let configuration = try NodeConfiguration.load(flags: [:], environment: [:], file: path)
        #expect(try configuration.cluster.redis.addresses().map(\.hostAndPort) == ["a:6379", "b:7000"])
    }

    @Test func thePasswordMayBeInAFile() throws {
        let path = TemporaryFolder.path()
        try Data("s3cret,@/\n".utf8).write(to: URL(fileURLWithPath: path))
        let configuration = try self.load(["redis": "redis://u@a,redis://b", "redis-password-file": path])
        #expect(try configuration.cluster.redis.addresses().map(\.user) == ["u", nil])
        #expect(configuration.cluster.redis.password == "s3cret,@/")
        #expect(self.row("redis-password-file", of: configuration) == [path, "--redis-password-file"])
        #expect(!configuration.describe().contains("s3cret"))
        #expect(try self.problem(["redis": "redis://a", "redis-password-file": path, "redis-password": "x"]).contains("keep one"))
        #expect(try self.load(["redis": "redis://a"], environment: ["REALERTIME_REDIS_PASSWORD": "x"]).cluster.redis.password == "x")
    }

    // MARK: - TLS and replicas

    @Test func certificatesNeedTLS() throws {
        let files = ["redis-cert": "a.pem", "redis-key": "a.key", "redis-ca": "ca.pem"]
        #expect(try self.load(files.merging(["redis": "redis://a,rediss://b"]) { $1 }).cluster.redis.authority == "ca.pem")
        #expect(try self.problem(["redis": "redis://a", "redis-ca": "ca.pem"]).hasPrefix("--redis-ca: redis-ca has no use without TLS: write rediss://"))
        #expect(try self.problem(["redis": "rediss://a", "redis-key": "a.key"]).contains("redis-cert and redis-key belong together"))
        let missing = try self.load(["redis": "rediss://a", "redis-ca": "/nowhere/ca.pem"])
        #expect(throws: (any Error).self) { try missing.redisLogSettings() }
    }

    @Test func settingsReachTheLog() throws {
        let settings = try self.load([
            "redis": "redis://a,redis://b", "cluster": "prod", "redis-replicas-min": "2", "redis-replica-milliseconds-max": "300",
        ]).redisLogSettings()
        #expect(settings.cluster == "prod" && settings.servers.map(\.host) == ["a", "b"])
        #expect(settings.replicasMin == 2 && settings.replicaMillisecondsMax == 300)
        #expect(settings.client.tls == nil)
    }

    /// The words of the line that `--check-config` prints for a key, without the key.
    private func row(_ key: String, of configuration: NodeConfiguration) -> [String] {
        let row = configuration.describe().split(separator: "\n").first { $0.hasPrefix(key + " ") }
        return (row ?? "").split(separator: " ").dropFirst().map(String.init)
    }
}
