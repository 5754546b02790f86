import Foundation
import NIOCore
import NIOSSL
import Partitioning
import TestKit
import Testing

@testable import Link

/// A certificate authority. `openssl` makes its certificates in a temporary folder.
private struct Authority {
    let folder: String
    var path: String { self.folder + "/ca.pem" }

    init() throws {
        self.folder = TemporaryFolder.make().path
        try self.openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
    }

    func sign(_ name: String) throws -> (certificate: String, key: String) {
        try self.openssl("req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=\(name) -keyout \(name).key -out \(name).csr")
        try self.openssl("x509 -req -days 2 -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -out \(name).pem")
        return ("\(self.folder)/\(name).pem", "\(self.folder)/\(name).key")
    }

    func tls(_ name: String, trusting other: Authority? = nil) throws -> LinkTLS {
        let (certificate, key) = try self.sign(name)
        return try LinkTLS(certificate: certificate, key: key, authority: (other ?? self).path)
    }

    private func openssl(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        process.arguments = arguments.split(separator: " ").map(String.init)
        process.currentDirectoryURL = URL(fileURLWithPath: self.folder)
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw LinkError("openssl \(arguments) failed") }
    }
}

@Suite struct LinksTLSTests {
    @Test func nodesOfOneAuthorityGetALink() async throws {
        let authority = try Authority()
        let (a, b) = (TestNode("a", secret: "s", tls: try authority.tls("a")), TestNode("b", secret: "s", tls: try authority.tls("b")))
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        b.links.setPeers([a.peer()])
        try await a.waitUp("b")
        try await b.waitUp("a")
        #expect(a.links.send([UInt8](repeating: 7, count: 5 << 20), to: "b"))
        for number in 0..<100 { #expect(a.links.send([UInt8(number)], to: "b")) }
        try await eventually("all arrives") { b.payloads.count == 101 }
        #expect(b.payloads[0].count == 5 << 20 && b.payloads.dropFirst().map { Int($0[0]) } == Array(0..<100))
        await a.close()
        try await b.wait("a's end is reported") { $0 == .down(ProcessID(id: "a", incarnation: 1), .incoming, .closed) }
        await b.close()
        expectAlternates(b.all)
    }

    @Test func aCertificateOfAnotherAuthorityIsRefused() async throws {
        let (one, two) = (try Authority(), try Authority())
        // First neither side accepts the other, then only the dialler accepts the listener, then only the listener accepts the dialler.
        let pairs = [(one, one, two, two), (one, two, two, two), (one, one, two, one)]
        for (number, (a, aTrusts, b, bTrusts)) in pairs.enumerated() {
            let tls = (try a.tls("a\(number)", trusting: aTrusts), try b.tls("b\(number)", trusting: bTrusts))
            try await self.refused(TestNode("a", tls: tls.0), TestNode("b", tls: tls.1), "authority", "authority")
        }
    }

    @Test func aNodeWithoutTLSIsRefused() async throws {
        let authority = try Authority()
        try await self.refused(TestNode("a"), TestNode("b", tls: try authority.tls("b")), "uses TLS and this node does not", "does not use TLS")
        try await self.refused(TestNode("a", tls: try authority.tls("a")), TestNode("b"), "TLS", "uses TLS and this node does not")
    }

    /// The client trusts the right authority, but has no certificate.
    @Test func aClientWithoutACertificateIsRefused() async throws {
        let authority = try Authority()
        let b = TestNode("b", tls: try authority.tls("b"))
        try await b.start()
        var client = TLSConfiguration.makeClientConfiguration()
        client.trustRoots = .file(authority.path)
        client.certificateVerification = .noHostnameVerification
        let context = try NIOSSLContext(configuration: client)
        let identity = LinkIdentity(cluster: "test", process: ProcessID(id: "a", incarnation: 1), protocols: 1...1, version: "1")
        let hello = LinkHello(identity: identity, to: ProcessID(id: "b", incarnation: 1), nonce: LinkHello.makeNonce())
        var frame = ByteBuffer()
        LinkFrame(kind: .hello, viewVersion: 0, payload: hello.json).write(into: &frame)
        let answer = try await Keeper.send(Array(frame.readableBytesView), to: b) { channel in
            try channel.pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: nil))
        }
        #expect(answer.readableBytes == 0)
        try await eventually("b logs it") { b.logs.lines.contains { $0.contains("presented no certificate") } }
        #expect(b.all.isEmpty)
        await b.close()
    }

    @Test func unusableFilesAreRefused() throws {
        let authority = try Authority()
        let (a, b) = (try authority.sign("a"), try authority.sign("b"))
        for (certificate, key, root, sentence) in [
            ("/nowhere", a.key, authority.path, "link-cert /nowhere"), (a.certificate, a.certificate, authority.path, "link-key"),
            (a.certificate, a.key, "/nowhere", "link-ca /nowhere"), (a.certificate, b.key, authority.path, "cannot be used together"),
        ] {
            #expect(performing: { try LinkTLS(certificate: certificate, key: key, authority: root) }, throws: { "\($0)".contains(sentence) })
        }
    }

    private func refused(_ a: TestNode, _ b: TestNode, _ own: String, _ other: String) async throws {
        try await a.start()
        try await b.start()
        a.links.setPeers([b.peer()])
        try await eventually("three attempts: \(own)") {
            a.all.count { if case .down(_, .outgoing, _) = $0 { true } else { false } } >= 3
        }
        try await eventually("b logs \(other): \(b.logs.lines)") { b.logs.lines.contains { $0.contains(other) } }
        #expect(a.logs.lines.contains { $0.contains(own) }, "\(a.logs.lines)")
        #expect(!(a.all + b.all).contains { if case .up = $0 { true } else { false } })
        await a.close()
        await b.close()
    }
}
