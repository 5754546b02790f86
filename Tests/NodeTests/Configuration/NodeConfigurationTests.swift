import ArgumentParser
import Configuration
import Foundation
import Logging
import Pipeline
import Sockets
import Storage
import TestKit
import Testing

@testable import Node

@Suite struct NodeConfigurationTests {
    private func load(
        _ flags: [String] = [], environment: [String: String] = [:], file: String? = nil, named name: String = "realertime.yaml"
    ) throws -> NodeConfiguration {
        var flags = flags
        let folder = TemporaryFolder.make()
        if let file {
            let url = folder.appendingPathComponent(name)
            try Data(file.utf8).write(to: url)
            flags += ["--config", url.path]
        }
        return try NodeConfiguration.load(options: NodeOptions.parse(flags), environment: environment)
    }

    /// The only problem of a configuration that must not load.
    private func problem(
        _ flags: [String] = [], environment: [String: String] = [:], file: String? = nil, _ location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let error = try #require(throws: ConfigurationError.self, sourceLocation: location) {
            try self.load(flags, environment: environment, file: file)
        }
        #expect(error.problems.count == 1, "\(error)", sourceLocation: location)
        return error.description
    }

    // MARK: - Precedence

    @Test func withoutOptionsTheDefaultsApply() throws {
        let configuration = try self.load()
        #expect(configuration == NodeConfiguration())
        #expect(configuration.limits == Limits())
        #expect(configuration.origins.isEmpty)
    }

    @Test func flagsOverrideVariablesAndVariablesOverrideTheFile() throws {
        let file = "listen: 127.0.0.1:1001\nlog: memory\nheartbeat-seconds: 3\nconnections-max: 30\n"
        let environment = ["REALERTIME_LISTEN": "127.0.0.1:1002", "REALERTIME_HEARTBEAT_SECONDS": "2", "PATH": "/bin"]
        let configuration = try self.load(["--listen", "[::1]:1003"], environment: environment, file: file)
        #expect(configuration.listen == ListenAddress(host: "::1", port: 1003))
        #expect(configuration.limits.heartbeatSeconds == 2)
        #expect(configuration.limits.connectionsMax == 30)
        #expect(configuration.log == .memory)
        #expect(configuration.origins["listen"] == .flag("--listen"))
        #expect(configuration.origins["heartbeat-seconds"] == .variable("REALERTIME_HEARTBEAT_SECONDS"))
        guard case .file(_, 4) = configuration.origins["connections-max"] else {
            Issue.record("\(String(describing: configuration.origins["connections-max"]))")
            return
        }
        #expect(configuration.origins["api"] == nil)
    }

    @Test func everyLimitIsAFlagAVariableAndAKeyOfTheFile() throws {
        for limit in LimitKey.all {
            for value in [limit.range.lowerBound, limit.range.upperBound] {
                let key = try #require(ConfigurationKey.named(limit.name))
                var problems: [ConfigurationError.Problem] = []
                #expect(key.content([String(value)]) == .int(value))
                for source in [
                    ConfigurationSource(environment: [key.variable: String(value)]),
                    ConfigurationSource(file: "f", text: "\(limit.name): \(value)"),
                    ConfigurationSource(file: "f", text: "{\"\(limit.name)\": \(value)}"),
                ] {
                    #expect(source.entries[limit.name]?.texts == [String(value)])
                    _ = source.provider(problems: &problems)
                }
                #expect(problems.isEmpty)
            }
            #expect(limit.range.contains(Limits()[keyPath: limit.path]), "\(limit.name)")
        }
        let flags = LimitKey.all.map { ($0.name, String($0.range.lowerBound)) }
        #expect(try NodeOptions.parse(flags.flatMap { ["--\($0)", $1] }).values == Dictionary(uniqueKeysWithValues: flags))
    }

    @Test func everyFieldOfLimitsHasAKey() {
        let fields = Mirror(reflecting: Limits()).children.compactMap(\.label)
        #expect(fields.map(kebab).sorted() == LimitKey.all.map(\.name).sorted())
        var limits = Limits()
        for (value, limit) in LimitKey.all.enumerated() { limits[keyPath: limit.path] = value }
        for child in Mirror(reflecting: limits).children {
            let index = LimitKey.all.firstIndex { $0.name == kebab(child.label ?? "") }
            #expect(child.value as? Int == index, "\(child.label ?? "")")
        }
    }

    @Test func everySettingIsApplied() throws {
        let configuration = try self.load(
            [
                "--id", "n1", "--listen", "0.0.0.0:1", "--api", "127.0.0.1:2", "--data", "/d", "--log", "memory", "--durability", "power",
                "--loops", "3", "--cors-origins", "https://a.example, http://b.example:81", "--log-level", "debug", "--connections-max", "20",
                "--heartbeat-seconds", "1", "--handshake-seconds-max", "1",
            ], environment: ["REALERTIME_API_TOKEN": "s3cret"])
        var expected = NodeConfiguration()
        expected.id = "n1"
        expected.listen = ListenAddress(host: "0.0.0.0", port: 1)
        expected.api = ListenAddress(host: "127.0.0.1", port: 2)
        expected.data = "/d"
        expected.log = .memory
        expected.durability = .power
        expected.loops = 3
        expected.corsOrigins = ["https://a.example", "http://b.example:81"]
        expected.logLevel = .debug
        expected.apiToken = "s3cret"
        expected.limits.connectionsMax = 20
        expected.limits.heartbeatSeconds = 1
        expected.limits.handshakeSecondsMax = 1
        expected.origins = configuration.origins
        #expect(configuration == expected)
    }

    @Test func filesMayBeJSONOrEmptyAndMayContainLists() throws {
        let json = try self.load(file: "{\n\t\"cors-origins\": [\"https://a.example\", \"https://b.example\"],\n\t\"loops\": 2\n}\n")
        #expect(json.corsOrigins == ["https://a.example", "https://b.example"])
        #expect(json.loops == 2)
        #expect(try self.load(file: "") == NodeConfiguration())
        #expect(try self.load(file: "# nothing yet\n") == NodeConfiguration())
        #expect(try self.load(file: "id:\nlisten: ~\n") == NodeConfiguration())
        #expect(try self.load(environment: ["REALERTIME_LISTEN": ""]) == NodeConfiguration())
    }

    @Test func aVariableMayNameTheFile() throws {
        #expect(try self.problem(environment: ["REALERTIME_CONFIG": "/nowhere/realertime.yaml"]).contains("/nowhere/realertime.yaml does not exist"))
    }

    // MARK: - Mistakes

    @Test func unknownNamesAreReportedWithTheNearestName() throws {
        #expect(
            try self.problem(file: "listen: 127.0.0.1:1\nheartbeat-second: 3\n").hasSuffix(
                ":2: no such key \"heartbeat-second\"; did you mean heartbeat-seconds?"))
        #expect(
            try self.problem(environment: ["REALERTIME_EVENTS_BYTES_MAX": "3"])
                == "REALERTIME_EVENTS_BYTES_MAX: no such variable; did you mean REALERTIME_EVENT_BYTES_MAX?")
        #expect(try self.problem(environment: ["realertime_listen": "x"]).contains("did you mean REALERTIME_LISTEN?"))
        #expect(try self.problem(file: "quite-something-else: 3\n").hasSuffix(":1: no such key \"quite-something-else\""))
        #expect(try self.load(environment: ["REALERTIME_API_URL": "http://x:1", "REALERTIME_URL": "http://y:2"]) == NodeConfiguration())
        #expect(throws: (any Error).self) { try NodeOptions.parse(["--conections-max", "3"]) }
    }

    @Test func invalidValuesAreReportedWithKeyPlaceAndRange() throws {
        #expect(try self.problem(["--heartbeat-seconds", "26"]) == "--heartbeat-seconds: heartbeat-seconds cannot be \"26\": allowed is 1 to 25 seconds")
        #expect(
            try self.problem(environment: ["REALERTIME_LOOPS": "many"]) == "REALERTIME_LOOPS: loops cannot be \"many\": allowed is 1 to 64 loops")
        #expect(
            try self.problem(file: "a: 1\n".replacing("a: 1", with: "log: postgres")).hasSuffix(
                ":1: log cannot be \"postgres\": allowed is sqlite or memory or redis"))
        #expect(try self.problem(file: "listen: {host: a}").contains("listen must be one value or a list"))
        #expect(try self.problem(file: "listen: [\"127.0.0.1:1\", \"127.0.0.1:2\"]").contains("allowed is host:port"))
        #expect(try self.problem(["--listen", "8080"]).contains("host:port or [v6]:port"))
        #expect(try self.problem(["--cors-origins", "https://a.example/"]).contains("scheme://host[:port]"))
        #expect(try self.problem(["--id", "a b"]).contains("1 to 64 characters of"))
        #expect(try self.problem(["--log-level", "loud"]).contains("trace or debug"))
        #expect(try self.problem(file: "- a\n- b\n").contains("must be a mapping"))
        #expect(try self.problem(file: "a: [1\nb: 2").contains("neither YAML nor JSON"))
        #expect(try self.problem(file: "id: a\nid: b\n").contains("id occurs twice"))
    }

    @Test func allProblemsAreReportedTogether() throws {
        let error = try #require(throws: ConfigurationError.self) {
            try self.load(["--loops", "0"], environment: ["REALERTIME_LOG": "x"], file: "nope: 1\nid: ''\n")
        }
        #expect(error.problems.count == 4, "\(error)")
        #expect(error.description.hasPrefix("The configuration has 4 problems:\n  --loops: "))
    }

    @Test func contradictionsAreRefused() throws {
        #expect(try self.problem(["--api", "127.0.0.1:8080"]).contains("give each its own port"))
        #expect(try self.problem(["--api", "0.0.0.0:8081"]).hasPrefix("--api: api 0.0.0.0:8081 can be reached from other machines, so it needs a token"))
        #expect(try self.problem(["--cors-origins", "*,https://a.example"]).contains("keep * alone"))
        #expect(try self.problem(["--event-bytes-max", "2000000"]).contains("raise request-bytes-max"))
        #expect(try self.load(["--api", "0.0.0.0:8081", "--api-token", "t"]).apiToken == "t")
        #expect(try self.load(["--api", "127.0.0.1:0", "--listen", "127.0.0.1:0"]).api.port == 0)
    }

    // MARK: - Secrets

    @Test func theTokenMayComeFromAFile() throws {
        let path = TemporaryFolder.path()
        try Data("s3cret\n".utf8).write(to: URL(fileURLWithPath: path))
        let configuration = try self.load(["--api-token-file", path])
        #expect(configuration.apiToken == "s3cret")
        #expect(self.row("api-token-file", of: configuration) == [path, "--api-token-file"])
        #expect(self.row("api-token", of: configuration).first == "set,")
        #expect(self.row("link-secret-file", of: configuration) == ["none", "default"])
        #expect(!configuration.describe().contains("s3cret"))
        #expect(try self.load(["--api-token", "other"], file: "api-token-file: \(path)").apiToken == "other")
        #expect(try self.load(["--api-token-file", path], environment: ["REALERTIME_API_TOKEN": "other"]).apiToken == "s3cret")
        #expect(try self.problem(["--api-token", "a", "--api-token-file", path]).contains("keep one"))
        try Data("\n".utf8).write(to: URL(fileURLWithPath: path))
        #expect(try self.problem(["--api-token-file", path]).contains("first line"))
    }

    /// A secret is its whole line, without the line end.
    @Test(arguments: [
        ("open sesame 1\n", "open sesame 1"), ("open sesame 1", "open sesame 1"), ("open\tsesame  1\r\n", "open\tsesame  1"), ("  a  \nb\n", "  a  "),
    ])
    func spacesArePartOfASecret(_ text: String, _ secret: String) throws {
        let path = TemporaryFolder.path()
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let member = ["--zookeeper", "127.0.0.1:1", "--link", "127.0.0.1:2", "--log", "memory", "--zookeeper-user", "u"]
        #expect(try self.load(member + ["--zookeeper-password-file", path]).cluster.password == secret)
        // HTTP removes spaces at both ends of a header value, so no request could carry such a token.
        if secret.hasPrefix(" ") || secret.contains("\t") {
            #expect(try self.problem(["--api-token-file", path]).contains("which no HTTP header can carry"))
        } else {
            #expect(try self.load(["--api-token-file", path]).apiToken == secret)
        }
    }

    @Test func aMissingFileIsNotReportedAsUnreadable() throws {
        let folder = TemporaryFolder.make()
        let missing = folder.appendingPathComponent("node.yaml").path
        let bytes = folder.appendingPathComponent("bytes").path
        try Data([0xFF, 0xFE, 0]).write(to: URL(fileURLWithPath: bytes))
        for option in ["--config", "--api-token-file"] {
            func problem(_ path: String) throws -> String {
                if option == "--api-token-file" { return try self.problem([option, path]) }
                let error = #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(flags: [:], environment: [:], file: path) }
                return error?.description ?? ""
            }
            #expect(try problem(missing).contains("\(missing) does not exist (a relative path starts at /"))
            #expect(try problem(bytes).contains("\(bytes) is not UTF-8 text"))
            #expect(try problem(folder.path).contains("\(folder.path) cannot be read: it is a folder"))
        }
    }

    /// A shell's `<(…)` and `/dev/stdin` are pipes.
    @Test func filesMayBePipes() throws {
        let path = TemporaryFolder.path()
        try #require(mkfifo(path, 0o600) == 0)
        func write(_ text: String) {
            let writer = Thread {
                // Blocks until the pipe is read.
                guard let pipe = FileHandle(forWritingAtPath: path) else { return }
                try? pipe.write(contentsOf: Data(text.utf8))
                try? pipe.close()
            }
            writer.start()
        }
        write("s3cret\n")
        #expect(try self.load(["--api-token-file", path]).apiToken == "s3cret")
        write("loops: 3\n")
        #expect(try NodeConfiguration.load(flags: [:], environment: [:], file: path).loops == 3)
        let error = #expect(throws: ConfigurationError.self) { try NodeConfiguration.load(flags: [:], environment: [:], file: "/dev/zero") }
        #expect(error?.description.contains("/dev/zero is larger than 1048576 bytes") == true)
    }

    @Test(arguments: ["zookeeper-password", "link-secret"])
    func thePathOfASecretIsShownAndTheSecretIsNot(_ key: String) throws {
        let path = TemporaryFolder.path()
        try Data("s3cret-of-many-bytes\n".utf8).write(to: URL(fileURLWithPath: path))
        let member =
            ["--zookeeper", "127.0.0.1:1", "--link", "127.0.0.1:2", "--log", "memory"] + (key == "zookeeper-password" ? ["--zookeeper-user", "u"] : [])
        let configuration = try self.load(member + ["--\(key)-file", path])
        #expect(self.row(key + "-file", of: configuration) == [path, "--\(key)-file"])
        #expect(self.row(key, of: configuration).first == "set,")
        #expect(!configuration.describe().contains("s3cret"))
        #expect(NodeConfiguration().describe().split(separator: "\n").contains { $0.hasPrefix(key + "-file ") && $0.contains(" none ") })
    }

    /// The words of the line that `--check-config` prints for a key, without the key.
    private func row(_ key: String, of configuration: NodeConfiguration) -> [String] {
        let row = configuration.describe().split(separator: "\n").first { $0.hasPrefix(key + " ") }
        return (row ?? "").split(separator: " ").dropFirst().map(String.init)
    }

    @Test func secretsAreNeverShown() throws {
        let configuration = try self.load(["--api-token", "s3cret"])
        #expect(!configuration.describe().contains("s3cret"))
        #expect(!"\(configuration)".contains("s3cret"))
        #expect(configuration.describe().contains("set, not shown"))
        #expect(try !self.problem(file: "api-token: [s3cret, s3cret]").contains("s3cret"))
        #expect(try !self.problem(file: "api-token: \"s3cret\nid: x").contains("s3cret"))
    }

    @Test func describesEveryKeyWithItsOrigin() throws {
        let lines = try self.load(["--loops", "2"]).describe().split(separator: "\n")
        #expect(lines.count == ConfigurationKey.all.count)
        #expect(lines.contains { $0.hasPrefix("loops ") && $0.contains("2 loops") && $0.hasSuffix("--loops") })
        #expect(lines.contains { $0.hasPrefix("event-bytes-max ") && $0.contains("65536 bytes") && $0.hasSuffix("default") })
    }

    // MARK: - Help

    @Test func helpNamesEveryFlagWithItsRange() {
        let help = NodeOptions.helpMessage(columns: 400)
        for key in ConfigurationKey.all { #expect(help.contains("--\(key.name) <"), "\(key.name)") }
        #expect(help.contains("1 to 25 seconds; default: 25"))
    }
}

/// `messageIDsMax` as `message-ids-max`.
private func kebab(_ field: String) -> String {
    field.replacing("IDs", with: "Ids").map { $0.isUppercase ? "-\($0.lowercased())" : String($0) }.joined()
}
