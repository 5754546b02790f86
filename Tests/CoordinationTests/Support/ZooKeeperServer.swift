import Foundation
import Synchronization
import TestKit

/// A real ZooKeeper server from Debian's jar, without its scripts, on a free loopback port and in a temporary folder.
///
/// A tick is 250 ms, so a session timeout is 0.5 to 5 s.
final class ZooKeeperServer: Sendable {
    let port: UInt16
    let folder: URL
    private let process = Mutex<SpawnedProcess?>(nil)

    struct NotServing: Error {
        let log: String
    }

    /// A standalone server that all tests of a run share. Each test uses its own namespace and leaves the server running.
    static func shared() async throws -> ZooKeeperServer {
        try await self.sharedTask.value
    }

    private static let sharedTask = Task {
        let server = ZooKeeperServer()
        try await server.start()
        return server
    }

    /// Creates a standalone server.
    convenience init() {
        self.init(port: LoopbackSocket.freePorts(1)[0], id: nil, peers: [])
    }

    /// A server with an id is a member of an ensemble.
    init(port: UInt16, id: Int?, peers: [String], syncLimit: Int = 12) {
        self.port = port
        self.folder = TemporaryFolder.make()
        var lines = [
            "tickTime=250", "initLimit=40", "syncLimit=\(syncLimit)", "dataDir=\(self.folder.path)/data", "clientPort=\(port)",
            "clientPortAddress=127.0.0.1", "maxClientCnxns=0", "admin.enableServer=false",
        ]
        lines += peers
        let configuration = Data(lines.joined(separator: "\n").utf8)
        try! FileManager.default.createDirectory(at: self.folder.appending(path: "data"), withIntermediateDirectories: true)
        try! configuration.write(to: self.folder.appending(path: "zoo.cfg"))
        if let id { try! Data("\(id)".utf8).write(to: self.folder.appending(path: "data/myid")) }
    }

    deinit {
        self.kill()
        try? FileManager.default.removeItem(at: self.folder)
    }

    var address: String { "127.0.0.1:\(self.port)" }

    /// Starts the process and waits until it serves.
    func start() async throws {
        try self.launch()
        try await self.waitUntilServing()
    }

    /// Starts the process without a wait: a member of an ensemble serves only after most members have started.
    func launch() throws {
        let java =
            "/usr/bin/java -Xms48m -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto -Djava.awt.headless=true"
            + " -Dzookeeper.admin.enableServer=false -Dzookeeper.forceSync=no -Dzookeeper.4lw.commands.whitelist=*"
            + " -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"
            + " org.apache.zookeeper.server.quorum.QuorumPeerMain"
        let arguments = java.split(separator: " ").map(String.init) + [self.folder.appending(path: "zoo.cfg").path]
        let process = try SpawnedProcess(arguments, log: self.logPath)
        self.process.withLock { $0 = process }
    }

    func waitUntilServing() async throws {
        for _ in 0..<600 {
            if self.mode != nil { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw NotServing(log: (try? String(contentsOfFile: self.logPath, encoding: .utf8)) ?? "")
    }

    /// `standalone`, `leader` or `follower`; nil while the server does not serve.
    var mode: String? {
        self.command("srvr").split(separator: "\n").first { $0.hasPrefix("Mode: ") }.map { String($0.dropFirst(6)) }
    }

    /// Sends a four-letter command of ZooKeeper. Returns an empty string if there is no response within a second.
    func command(_ word: String) -> String {
        guard let socket = LoopbackSocket.connected(to: self.port) else { return "" }
        socket.send(word)
        return socket.receiveAll()
    }

    /// Like `kill -9`. Written data survives, because the operating system continues to run.
    func kill() {
        self.process.withLock { process in
            process?.kill()
            process = nil
        }
    }

    /// Stops the process. Its connections stay open, but the server sends nothing.
    func pause() {
        self.process.withLock { $0?.stop() }
    }

    func resume() {
        self.process.withLock { $0?.signal(SIGCONT) }
    }

    /// Copies the data of a killed server.
    func saveData() throws -> URL {
        let copy = self.folder.appending(path: "saved-\(UUID().uuidString)")
        try FileManager.default.copyItem(at: self.folder.appending(path: "data"), to: copy)
        return copy
    }

    /// Replaces the data of a killed server with an earlier copy.
    func restoreData(from copy: URL) throws {
        let data = self.folder.appending(path: "data")
        try FileManager.default.removeItem(at: data)
        try FileManager.default.copyItem(at: copy, to: data)
    }

    private var logPath: String { self.folder.appending(path: "server.log").path }
}
