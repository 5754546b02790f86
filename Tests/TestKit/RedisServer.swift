public import Foundation
import Synchronization
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// How a ``RedisServer`` is configured. By default, the server stores nothing on disk and evicts nothing.
public struct RedisServerOptions: Sendable {
    public enum AppendOnly: String, Sendable {
        case never = "no"
        case everySecond = "everysec"
        case always
    }

    public var appendOnly = AppendOnly.never
    /// In bytes. Nil means no limit. An empty server uses about 1 MB.
    public var maxMemory: Int?
    public var maxMemoryPolicy = "noeviction"
    /// The password of the user `default`.
    public var password: String?
    /// Users as in a configuration file: `app on >secret ~* &* +@all`.
    public var users: [String] = []
    /// The port of the primary. A password is not needed.
    public var replicaOf: UInt16?
    /// With a certificate, the server also listens for TLS, on ``RedisServer/tlsPort``.
    public var certificate: RedisCertificate?
    /// True if clients need the same certificate.
    public var asksForCertificate = false
    /// More lines of a configuration file.
    public var lines: [String] = []

    public init() {}
}

/// A self-signed certificate and its key, in a temporary folder. The certificate is its own authority.
public struct RedisCertificate: Sendable {
    public let path: String
    public let keyPath: String

    /// The names are in the syntax of openssl: `DNS:example.org,IP:10.0.0.1`.
    public init(names: String = "IP:127.0.0.1,DNS:localhost") throws {
        let folder = TemporaryFolder.make()
        self.path = folder.appending(path: "redis.pem").path
        self.keyPath = folder.appending(path: "redis.key").path
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=redis -addext subjectAltName=\(names)"
        process.arguments = arguments.split(separator: " ").map(String.init) + ["-keyout", self.keyPath, "-out", self.path]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure() }
    }

    public struct Failure: Error {}
}

/// A real Redis server on a free loopback port and in a temporary folder. The server is killed when this process ends.
///
/// The port and the folder stay the same after a restart. The user `testkit` has all permissions, and only this class uses it.
public final class RedisServer: Sendable {
    public let port: UInt16
    /// Zero without a certificate.
    public let tlsPort: UInt16
    public let folder: URL
    private let process = Mutex<SpawnedProcess?>(nil)

    public struct NotServing: Error {
        public let log: String
    }

    /// One server for the whole run, with the default options. Each test uses keys with a prefix of its own, and leaves the server running.
    public static func shared() async throws -> RedisServer { try await self.sharedTask.value }

    private static let sharedTask = Task { try await RedisServer.started() }

    public static func started(_ options: RedisServerOptions = RedisServerOptions()) async throws -> RedisServer {
        let server = RedisServer(options)
        try await server.start()
        return server
    }

    public init(_ options: RedisServerOptions = RedisServerOptions()) {
        self.port = LoopbackSocket.serverPort()
        self.tlsPort = options.certificate == nil ? 0 : LoopbackSocket.serverPort()
        self.folder = TemporaryFolder.make()
        var lines = [
            "port \(self.port)", "bind 127.0.0.1", "dir \(self.folder.path)", "save \"\"", "daemonize no", "protected-mode no",
            "appendonly \(options.appendOnly == .never ? "no" : "yes")", "maxmemory-policy \(options.maxMemoryPolicy)",
            "user testkit on >testkit ~* &* +@all", "masteruser testkit", "masterauth testkit",
            // Otherwise, a primary waits five seconds for more replicas before it sends its data to the first.
            "repl-diskless-sync-delay 0",
        ]
        if options.appendOnly != .never { lines.append("appendfsync \(options.appendOnly.rawValue)") }
        if let maxMemory = options.maxMemory { lines.append("maxmemory \(maxMemory)") }
        if let password = options.password { lines.append("requirepass \(password)") }
        lines += options.users.map { "user \($0)" }
        if let primary = options.replicaOf { lines.append("replicaof 127.0.0.1 \(primary)") }
        if let certificate = options.certificate {
            lines += [
                "tls-port \(self.tlsPort)", "tls-cert-file \(certificate.path)", "tls-key-file \(certificate.keyPath)",
                "tls-ca-cert-file \(certificate.path)", "tls-auth-clients \(options.asksForCertificate ? "yes" : "no")",
            ]
        }
        lines += options.lines
        try! Data(lines.joined(separator: "\n").utf8).write(to: self.folder.appending(path: "redis.conf"))
    }

    deinit {
        self.kill()
        try? FileManager.default.removeItem(at: self.folder)
    }

    // MARK: - Life

    /// Starts the process and waits until it serves.
    public func start() async throws {
        try self.launch()
        for _ in 0..<1200 {
            if (try? self.command("PING")) == .status("PONG") { return }
            if self.process.withLock({ $0?.hasEnded ?? true }) { break }
            try await Task.sleep(for: .milliseconds(25))
        }
        throw NotServing(log: (try? String(contentsOfFile: self.logPath, encoding: .utf8)) ?? "")
    }

    /// Starts the process only.
    public func launch() throws {
        let process = try SpawnedProcess(["/usr/bin/redis-server", self.folder.appending(path: "redis.conf").path], log: self.logPath)
        self.process.withLock { $0 = process }
    }

    /// As by `kill -9`. What Redis wrote to its files is kept, because the machine runs on.
    public func kill() {
        self.process.withLock { process in
            process?.kill()
            process = nil
        }
    }

    /// Ends the process with SHUTDOWN. `save` writes a snapshot, which the next start reads unless there is an append-only file.
    public func shutdown(save: Bool) throws {
        // Redis closes its connections when it exits, after everything is on disk.
        if let refusal = try? self.command(save ? "SHUTDOWN SAVE" : "SHUTDOWN NOSAVE") { throw RESPConnection.NoReply(description: "\(refusal)") }
        self.kill()
    }

    /// Holds the process. Its connections stay open and silent, and the kernel accepts new ones.
    public func stop() { self.process.withLock { $0?.stop() } }

    public func cont() { self.process.withLock { $0?.signal(SIGCONT) } }

    /// Kills the process if it runs, and starts it again on the same port and folder.
    public func restart() async throws {
        self.kill()
        try await self.start()
    }

    /// Like ``restart()``, but with an empty folder.
    public func restartEmpty() async throws {
        self.kill()
        for name in try FileManager.default.contentsOfDirectory(atPath: self.folder.path) where name != "redis.conf" && name != "server.log" {
            try FileManager.default.removeItem(at: self.folder.appending(path: name))
        }
        try await self.start()
    }

    // MARK: - Looking into it

    /// Runs one command, of words with spaces between them, on a connection of its own.
    @discardableResult
    public func command(_ line: String) throws -> RESPValue { try self.command(line.split(separator: " ").map(String.init)) }

    @discardableResult
    public func command(_ words: [String]) throws -> RESPValue { try self.connection().command(words) }

    /// A connection as the user `testkit`.
    public func connection() throws -> RESPConnection {
        guard let connection = RESPConnection(to: self.port) else { throw RESPConnection.NoReply(description: "no process listens on port \(self.port)") }
        let reply = try connection.command("AUTH testkit testkit")
        guard reply == .status("OK") else { throw RESPConnection.NoReply(description: "AUTH: \(reply)") }
        return connection
    }

    /// The fields of INFO.
    public func info(_ section: String = "everything") throws -> [String: String] {
        let text = try self.command("INFO \(section)").string ?? ""
        var fields: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { fields[String(parts[0])] = String(parts[1]) }
        }
        return fields
    }

    // MARK: - Replication

    /// Waits until this replica has everything that its primary has now.
    public func waitUntilInSync(with primary: RedisServer) async throws {
        try await eventually("the replica has not caught up") {
            let (own, its) = (try self.info("replication"), try primary.info("replication"))
            return own["master_link_status"] == "up" && own["slave_repl_offset"] == its["master_repl_offset"]
        }
    }

    /// Makes this replica a primary.
    public func promote() throws {
        let reply = try self.command("REPLICAOF NO ONE")
        guard reply == .status("OK") else { throw RESPConnection.NoReply(description: "REPLICAOF: \(reply)") }
    }

    private var logPath: String { self.folder.appending(path: "server.log").path }
}
