import AdminAPI
package import Logging
package import Pipeline
package import Sockets
package import Storage

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// The configuration of a node. This type does not know flags, files or the environment.
package struct NodeConfiguration: Sendable, Equatable {
    /// Where history is stored.
    package enum LogKind: String, Sendable, CaseIterable {
        /// In a database in the folder `data`. History survives a restart.
        case sqlite
        /// In this process. History is lost when the process ends.
        case memory
        /// On the Redis servers that all nodes of the cluster share.
        case redis
    }

    /// The node's name in status and metrics.
    package var id = NodeConfiguration.hostName
    /// The address of the subscriber port.
    package var listen = ListenAddress(host: "127.0.0.1", port: 8080)
    /// The address of the API port.
    package var api = ListenAddress(host: "127.0.0.1", port: 8081)
    /// The folder of the log on SQLite, and of `cluster.json`.
    package var data = "./realertime-data"
    package var log = LogKind.sqlite
    package var durability = Durability.process
    /// The number of event loops.
    package var loops = min(Processors.ofThisProcess.count, 64)
    /// Origins whose pages may subscribe and publish from a browser, or `*`. The API's own page is always allowed.
    package var corsOrigins: [String] = []
    /// The token that a request on the API port must have. Secret: never printed.
    package var apiToken: String?
    /// The files that secrets were read from, by key.
    var secretFiles: [String: String] = [:]
    package var logLevel = Logger.Level.info
    package var cluster = ClusterOptions()
    package var limits = Limits()
    /// The source of each value that is not a default.
    package internal(set) var origins: [String: ConfigurationOrigin] = [:]

    package init() {}

    /// This machine's name, up to the first dot.
    static let hostName: String = {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "realertime" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let first = String(name.prefix { $0 != "." })
        return NodeID.isValid(first) ? first : "realertime"
    }()
}
