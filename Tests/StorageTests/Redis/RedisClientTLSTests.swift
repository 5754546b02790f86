import NIOCore
import TestKit
import Testing

@testable import Storage

@Suite(.timeLimit(.minutes(5))) struct RedisClientTLSTests {
    private func server(_ names: String = "IP:127.0.0.1,DNS:localhost", asksForCertificate: Bool = false) async throws -> (RedisServer, RedisCertificate) {
        let certificate = try RedisCertificate(names: names)
        var options = RedisServerOptions()
        (options.certificate, options.asksForCertificate) = (certificate, asksForCertificate)
        return (try await RedisServer.started(options), certificate)
    }

    private func settings(_ authority: RedisCertificate?, showing own: RedisCertificate? = nil) throws -> RedisClientSettings {
        var settings = RedisClientSettings.eager
        settings.tls = try RedisTLS(authority: authority?.path, certificate: own.map { ($0.path, $0.keyPath) })
        return settings
    }

    @Test(arguments: ["127.0.0.1", "localhost"]) func requestsAreEncrypted(host: String) async throws {
        let (server, certificate) = try await self.server()
        try await withRedisClient(try RedisAddress("rediss://\(host):\(server.tlsPort)"), try self.settings(certificate)) { client in
            try await client.waitUntilReady()
            let long = ByteBuffer(repeating: 7, count: 3 << 20)
            var request = RedisRequest("SET", argumentCount: 2)
            request.append("key")
            request.append(long)
            #expect(await client.send([request, RedisRequest("GET", "key")]) == [.success(.status("OK")), .success(.string(long))])
            let generation = await client.generation
            try await server.restart()
            try await eventually("back") { await client.generation > generation }
            try await client.waitUntilReady()
            #expect(try await client.send("GET", "key") == .null)
        }
    }

    @Test func anotherAuthorityIsNotTrusted() async throws {
        let (server, _) = try await self.server()
        let address = try RedisAddress("rediss://127.0.0.1:\(server.tlsPort)")
        try await withRedisClient(address, try self.settings(try RedisCertificate())) { try await $0.waitForProblem("not from an authority") }
        // Without settings, those of the system.
        try await withRedisClient(address) { try await $0.waitForProblem("not from an authority") }
    }

    /// The client trusts the authority, so only the name or the address can be the reason.
    @Test(arguments: ["127.0.0.1", "localhost"]) func aCertificateOfAnotherNameIsNotTrusted(host: String) async throws {
        let (server, certificate) = try await self.server("DNS:example.org,IP:10.0.0.1")
        try await withRedisClient(try RedisAddress("rediss://\(host):\(server.tlsPort)"), try self.settings(certificate)) {
            try await $0.waitForProblem("for another name or address")
        }
    }

    @Test func aClientCertificateIsShown() async throws {
        let (server, certificate) = try await self.server(asksForCertificate: true)
        let address = try RedisAddress("rediss://127.0.0.1:\(server.tlsPort)")
        try await withRedisClient(address, try self.settings(certificate)) { try await $0.waitForProblem("requires a certificate of this node") }
        try await withRedisClient(address, try self.settings(certificate, showing: certificate)) { try await $0.waitUntilReady() }
    }

    @Test func onlyOneSideUsesTLS() async throws {
        let (server, certificate) = try await self.server()
        // Redis replies to a TLS hello only after a line end, and the hello may not contain one.
        var impatient = try self.settings(certificate)
        impatient.deadline = .milliseconds(300)
        try await withRedisClient(try RedisAddress("rediss://127.0.0.1:\(server.port)"), impatient) { try await $0.waitForProblem("TLS on this port") }
        try await withRedisClient(try RedisAddress("redis://127.0.0.1:\(server.tlsPort)")) { client in
            try await eventually("a problem") { await client.problem?.contains("is not connected yet") == false }
            #expect(await client.facts == nil)
        }
    }

    /// TLS says goodbye and waits for the other side's, which a server that is held does not send.
    @Test func aSilentServerDoesNotKeepAClientOpen() async throws {
        let (server, certificate) = try await self.server()
        try await withRedisClient(try RedisAddress("rediss://127.0.0.1:\(server.tlsPort)"), try self.settings(certificate)) { client in
            try await client.waitUntilReady()
            server.stop()
            async let waiting = client.send([RedisRequest("INCR", "a")])
            try await eventually("sent") { await client.waitingRequests == 1 }
            await client.close()
            guard case .failure(.noReply) = await waiting[0] else { return #expect(Bool(false)) }
        }
        server.cont()
    }

    @Test func filesThatCannotBeUsed() throws {
        let (one, two) = (try RedisCertificate(), try RedisCertificate())
        for (authority, path, key, part) in [
            ("/nowhere", one.path, one.keyPath, "the authority for Redis, /nowhere"),
            (one.path, "/nowhere", one.keyPath, "the certificate for Redis, /nowhere"),
            (one.path, one.path, "/nowhere", "the key for Redis, /nowhere"), (one.path, one.path, two.keyPath, "cannot be used together"),
        ] {
            let error = #expect(throws: RedisAddressError.self) { try RedisTLS(authority: authority, certificate: (path, key)) }
            #expect(error?.description.contains(part) == true, "\(String(describing: error))")
        }
    }
}
