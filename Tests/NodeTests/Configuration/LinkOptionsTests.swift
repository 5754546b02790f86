import Foundation
import Link
import Sockets
import TestKit
import Testing

@testable import Node

/// The problems that `--check-config` reports about a member's link.
@Suite struct LinkOptionsTests {
    private static let member = ["zookeeper": "127.0.0.1:2181", "link": "127.0.0.1:8082", "log": "memory"]

    private func load(_ flags: [String: String], environment: [String: String] = [:]) throws -> NodeConfiguration {
        try NodeConfiguration.load(flags: Self.member.merging(flags) { _, given in given }, environment: environment, file: nil)
    }

    private func problem(_ flags: [String: String], _ location: SourceLocation = #_sourceLocation) throws -> String {
        let error = try #require(throws: ConfigurationError.self, sourceLocation: location) { try self.load(flags) }
        #expect(error.problems.count == 1, "\(error)", sourceLocation: location)
        return error.description
    }

    @Test func aLinkBeyondLoopbackNeedsAuthentication() throws {
        let sentence = try self.problem(["link": "10.0.0.1:8082"])
        #expect(sentence.hasPrefix("--link: link 10.0.0.1:8082 can be reached from other machines"))
        #expect(sentence.contains("set link-secret-file, or link-cert, link-key and link-ca"))
        #expect(try self.load(["link": "10.0.0.1:8082", "link-secret": "0123456789abcdef"]).cluster.linkSecret == "0123456789abcdef")
        let files = ["link": "10.0.0.1:8082", "link-cert": "a.pem", "link-key": "a.key", "link-ca": "ca.pem"]
        #expect(try self.load(files).cluster.linkAuthority == "ca.pem")
        #expect(try self.problem(["link-cert": "a.pem"]).contains("set all three, or none"))
    }

    @Test(arguments: ["foo", "10.0.0.1:2181,foo", "a:0", ":2181", "a:2181,", "a:x"]) func serversHaveAddressesAndPorts(_ servers: String) throws {
        #expect(try self.problem(["zookeeper": servers]).contains("write host:port, with commas between servers"))
    }

    @Test(arguments: ["a:2181", "[::1]:2181,b:2181"]) func validServersAreAccepted(_ servers: String) throws {
        #expect(try self.load(["zookeeper": servers]).cluster.zookeeper == servers)
    }

    @Test(arguments: [
        ("a:1/x/", "/x/ ends with /"), ("a:1//", "// has an empty part"), ("a:1//x", "//x has an empty part"), ("a:1/x//y", "/x//y has an empty part"),
        ("a:1/.", "/. contains the part ."), ("a:1/x/../y", "/x/../y contains the part .."), ("a:1/x\u{1}", "a character that ZooKeeper does not allow"),
        ("a:1/zookeeper", "ZooKeeper reserves /zookeeper"),
    ]) func invalidChrootsAreRefused(_ given: (servers: String, sentence: String)) throws {
        let sentence = try self.problem(["zookeeper": given.servers])
        #expect(sentence.contains(given.sentence), "\(sentence)")
    }

    @Test(arguments: ["a:2181/x", "a:2181,b:2181/x/y-1", "a:2181/"]) func validChrootsAreAccepted(_ servers: String) throws {
        #expect(try self.load(["zookeeper": servers]).cluster.zookeeper == servers)
    }

    @Test(arguments: ["[::1:2181", "::1]:2181", "[]:2181", "[x]:2181", "[::1]2181", "[::1]:0", "::1:2181", "a b:1"]) func malformedBracketsAreRefused(
        _ servers: String
    ) throws {
        #expect(try self.problem(["zookeeper": servers]).contains("write host:port"))
    }

    /// ZooKeeper refuses `.` and `..` as parts of a path.
    @Test(arguments: ["id", "cluster", "zone"], [".", ".."]) func theNamesDotAndDotDotAreRefused(_ key: String, _ name: String) throws {
        #expect(try self.problem([key: name]).contains("\(key) cannot be \"\(name)\""))
        #expect(try self.load([key: "..."]).cluster.zookeeper != nil)
    }

    @Test(arguments: ["0:8082", "0.0:8082", "[::0]:8082", "[::ffff:0.0.0.0]:8082"]) func noSpellingOfTheWildcardAddressIsAdvertised(_ link: String) throws {
        #expect(try self.problem(["link": link, "link-secret": "0123456789abcdef"]).contains("the other nodes cannot connect to \(link): set link-advertise"))
        #expect(try self.problem(["link-advertise": link]).contains("the other nodes cannot connect to \(link)"))
    }

    @Test func everySpellingOfLoopbackIsRecognized() throws {
        #expect(try self.load(["link": "127.1:8082", "api": "127.1:8081"]).apiToken == nil)
        #expect(try self.problem(["api": "0:8081"]).contains("api 0:8081 can be reached from other machines, so it needs a token"))
    }

    @Test func shortSecretsAreRefused() throws {
        #expect(try self.problem(["link": "10.0.0.1:8082", "link-secret": "0123456789abcde"]).contains("fewer than 16 bytes"))
    }

    @Test func anAddressThatCannotBeDialledIsRefused() throws {
        #expect(
            try self.problem(["link": "0.0.0.0:8082", "link-secret": "0123456789abcdef"]).contains(
                "the other nodes cannot connect to 0.0.0.0:8082: set link-advertise"))
        #expect(try self.problem(["link-advertise": "[::]:8082"]).hasPrefix("--link-advertise: the other nodes cannot connect to [::]:8082"))
        #expect(try self.problem(["link-advertise": "10.0.0.1:0"]).contains("address and port"))
        let configuration = try self.load(["link": "0.0.0.0:8082", "link-secret": "0123456789abcdef", "link-advertise": "10.0.0.1:9"])
        #expect(configuration.cluster.linkAdvertise == ListenAddress(host: "10.0.0.1", port: 9))
    }

    @Test func secretsComeFromTheEnvironmentOrAFile() throws {
        let path = TemporaryFolder.path()
        try Data("fr0m-the-file-of-it\n".utf8).write(to: URL(fileURLWithPath: path))
        let fromFile = try self.load(["link-secret-file": path])
        #expect(fromFile.cluster.linkSecret == "fr0m-the-file-of-it")
        let fromEnvironment = try self.load([:], environment: ["REALERTIME_LINK_SECRET": "fr0m-the-environment"])
        #expect(fromEnvironment.cluster.linkSecret == "fr0m-the-environment")
        #expect(!(fromFile.describe() + fromEnvironment.describe()).contains("fr0m"))
    }

    @Test func linkLimitsMustFitTogether() throws {
        let configuration = try self.load(["link-frame-bytes-max": "4194304", "link-heartbeat-seconds": "2", "link-silence-seconds-max": "9"])
        let limits = LinkLimits(configuration.limits)
        #expect(limits.frameBytesMax == 4_194_304 && limits.bufferedBytesMax == 32 << 20)
        #expect(limits.heartbeatMilliseconds == 2000 && limits.silenceMilliseconds == 9000 && limits.stallMilliseconds == 18_000)
        #expect(LinkLimits(NodeConfiguration().limits) == LinkLimits())
        #expect(try self.problem(["link-buffered-bytes-max": "2097152"]).contains("raise link-buffered-bytes-max or lower link-frame-bytes-max"))
        #expect(try self.problem(["link-frame-bytes-max": "2097152"]).contains("raise it to at least 2621440"))
        #expect(
            try self.problem(["event-bytes-max": "8388608", "request-bytes-max": "16777216"]).contains(
                "link-buffered-bytes-max 33554432 is too low for event-bytes-max 8388608"))
        #expect(try self.problem(["link-heartbeat-seconds": "3"]).contains("raise it to at least 6, or lower link-heartbeat-seconds"))
        #expect(try self.problem(["link-silence-seconds-max": "1"]).contains("2 to 300 seconds"))
    }
}
