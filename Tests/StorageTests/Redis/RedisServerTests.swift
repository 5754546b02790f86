import Foundation
import TestKit
import Testing

/// The servers that other tests start.
@Suite(.timeLimit(.minutes(5))) struct RedisServerTests {
    @Test func theServerUsesTheRequestedConfiguration() async throws {
        var options = RedisServerOptions()
        options.appendOnly = .always
        options.maxMemory = 3_000_000
        options.maxMemoryPolicy = "allkeys-lru"
        options.lines = ["hz 50"]
        let server = try await RedisServer.started(options)
        for (name, value) in [
            ("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory", "3000000"), ("maxmemory-policy", "allkeys-lru"), ("hz", "50"), ("save", ""),
            ("unixsocket", ""), ("bind", "127.0.0.1"),
        ] {
            #expect(try server.command("CONFIG GET \(name)") == .array([.string(name), .string(value)]))
        }
        let plain = try await RedisServer.started()
        #expect(try plain.command("CONFIG GET appendonly") == .array([.string("appendonly"), .string("no")]))
        #expect(try plain.info()["tcp_port"] == "\(plain.port)" && plain.port != server.port)
    }

    @Test func passwordsAndUsersAreRequired() async throws {
        var options = RedisServerOptions()
        options.password = "open sesame".replacing(" ", with: "-")
        options.users = ["app on >secret ~rt:* +@all -config"]
        let server = try await RedisServer.started(options)
        let connection = try #require(RESPConnection(to: server.port))
        #expect(try connection.command("PING").error?.hasPrefix("NOAUTH") == true)
        #expect(try connection.command("AUTH open-sesame") == .status("OK"))
        #expect(try connection.command("AUTH app wrong").error?.hasPrefix("WRONGPASS") == true)
        #expect(try connection.command("AUTH app secret") == .status("OK"))
        #expect(try connection.command("SET rt:a 1") == .status("OK"))
        #expect(try connection.command("SET a 1").error?.hasPrefix("NOPERM") == true)
        #expect(try connection.command("CONFIG GET maxmemory").error?.hasPrefix("NOPERM") == true)
    }

    @Test func whatItHasOnDiskIsThereAfterARestart() async throws {
        var options = RedisServerOptions()
        options.appendOnly = .always
        let server = try await RedisServer.started(options)
        let runID = try server.info("server")["run_id"]
        try server.command("SET a 1")
        try await server.restart()
        #expect(try server.command("GET a") == .string("1"))
        #expect(try server.info("server")["run_id"] != runID)
        try server.shutdown(save: false)
        #expect(throws: RESPConnection.NoReply.self) { try server.command("PING") }
        try await server.start()
        #expect(try server.command("GET a") == .string("1"))
        try await server.restartEmpty()
        #expect(try server.command("GET a") == .null)
    }

    @Test func withoutAnAppendOnlyFileOnlyASnapshotIsKept() async throws {
        let server = try await RedisServer.started()
        try server.command("SET a 1")
        try server.shutdown(save: true)
        try await server.start()
        #expect(try server.command("GET a") == .string("1"))
        try server.command("SET a 2")
        try server.shutdown(save: false)
        try await server.start()
        #expect(try server.command("GET a") == .string("1"))
        try server.command("SET a 3")
        try await server.restart()
        #expect(try server.command("GET a") == .string("1"))
    }

    @Test func aStoppedServerIsSilentAndContinues() async throws {
        let server = try await RedisServer.started()
        let connection = try #require(RESPConnection(to: server.port))
        #expect(try connection.command("INCR a") == .integer(1))
        server.stop()
        connection.send("INCR a")
        // The system accepts a connection in its name.
        let second = try #require(RESPConnection(to: server.port, seconds: 1))
        #expect(throws: RESPConnection.NoReply.self) { try second.command("INCR a") }
        #expect(connection.look() == .nothing)
        server.cont()
        #expect(try connection.receive() == .integer(2))
        #expect(try second.receive() == .integer(3))
    }

    @Test func aReplicaFollowsAndIsPromoted() async throws {
        let primary = try await RedisServer.started()
        try primary.command("SET a 1")
        var options = RedisServerOptions()
        options.replicaOf = primary.port
        let replica = try await RedisServer.started(options)
        try await replica.waitUntilInSync(with: primary)
        #expect(try replica.info()["role"] == "slave")
        #expect(try replica.command("GET a") == .string("1"))
        #expect(try replica.command("SET a 2").error?.hasPrefix("READONLY") == true)
        // What the primary writes while the replica is held does not reach it.
        replica.stop()
        try primary.command("SET a 2")
        primary.kill()
        replica.cont()
        try replica.promote()
        #expect(try replica.info()["role"] == "master")
        try replica.command("SET b 1")
    }

    @Test func theServerUsesTLSWithItsCertificate() async throws {
        var options = RedisServerOptions()
        options.certificate = try RedisCertificate()
        let server = try await RedisServer.started(options)
        func ping(authority: String) throws -> String {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            let arguments = "s_client -quiet -verify_return_error -verify_ip 127.0.0.1 -CAfile \(authority) -connect 127.0.0.1:\(server.tlsPort)"
            process.arguments = arguments.split(separator: " ").map(String.init)
            let (input, output) = (Pipe(), Pipe())
            process.standardInput = input
            process.standardOutput = output
            process.standardError = FileHandle.nullDevice
            try process.run()
            input.fileHandleForWriting.write(Data("PING\r\nQUIT\r\n".utf8))
            let data = output.fileHandleForReading.readDataToEndOfFile()
            process.waitUntilExit()
            return String(decoding: data, as: UTF8.self)
        }
        #expect(try ping(authority: options.certificate!.path) == "+PONG\r\n+OK\r\n")
        #expect(try ping(authority: RedisCertificate().path) == "")
        #expect(try server.command("PING") == .status("PONG"))
    }

    @Test func aServerThatCannotStartSaysWhy() async throws {
        var options = RedisServerOptions()
        options.lines = ["no-such-directive yes"]
        let server = RedisServer(options)
        let error = await #expect(throws: RedisServer.NotServing.self) { try await server.start() }
        #expect(error?.log.contains("no-such-directive") == true)
    }

    @Test func itIsKilledWhenTheTestProcessIs() async throws {
        try await withTemporaryFolder { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                let server = try await RedisServer.started()
                try Data("\(server.port)".utf8).write(to: URL(fileURLWithPath: folder + "/port"))
                kill(getpid(), SIGKILL)
            }
            let port = try #require(UInt16(String(contentsOfFile: folder + "/port", encoding: .utf8)))
            try await eventually("the server still listens") { RESPConnection(to: port) == nil }
        }
    }
}
