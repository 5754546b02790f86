import ArgumentParser
import Glibc
import Histogram
import Testing

@testable import Load

@Suite struct ReportTests {
    @Test func talliesAreSentAsLinesAndAdded() {
        var one = WorkerTally()
        one.connected = 3
        one.lost = 2
        one.cpuMillionths = 900
        one.count(error: "subscribe: status 503")
        for value in 1...20_000 { _ = one.delivery.record(UInt64(value) * 10_000) }
        var copy = WorkerTally()
        for line in one.lines { copy.read(line: line) }
        copy.read(line: "nonsense")
        #expect(copy.connected == 3 && copy.lost == 2 && copy.errors == one.errors)
        #expect(copy.delivery.totalCount == 20_000)
        for percentile in [1, 50, 99.9] { #expect(copy.delivery.valueAtPercentile(percentile) == one.delivery.valueAtPercentile(percentile)) }

        var two = WorkerTally()
        two.connected = 4
        two.cpuMillionths = 500
        two.count(error: "subscribe: status 503")
        two.merge(copy)
        #expect(two.connected == 7 && two.lost == 2 && two.cpuMillionths == 900)
        #expect(two.errors == ["subscribe: status 503": 2])
        #expect(two.delivery.totalCount == 20_000)
    }

    @Test func eachSecondHasPercentiles() throws {
        var workers = [WorkerTally(), WorkerTally()]
        for index in workers.indices { workers[index].prepareSeconds(4.5) }
        // A second without deliveries, a second with high latencies, and events of the last half second.
        for (second, milliseconds) in [(0, 2), (1, 90), (3, 4), (4, 6)] as [(UInt64, UInt64)] {
            for number in 0..<100 as Range<UInt64> {
                workers[Int(number % 2)].recordDelivery(sent: second * 1_000_000_000 + number, latency: milliseconds * 1_000_000)
            }
        }
        let report = try self.report { tally in
            for worker in workers {
                var copy = WorkerTally()
                for line in worker.lines { copy.read(line: line) }
                tally.merge(copy)
            }
            tally.addUpSeconds()
        }
        #expect(report.tally.delivery.totalCount == 400)
        #expect(report.seconds.map { $0.valueAtPercentile(99) / 1_000_000 } == [2, 90, 4, 6])
        let p99 = try #require(report.p99BySecond)
        #expect(p99.median / 1_000_000 == 4 && p99.worst / 1_000_000 == 90)
        #expect(report.json.contains(#""delivery_by_second":{"p99_median":4"#))
        #expect(report.table.contains("p99 latency of each second: median 4.00 ms, worst 90."))
        #expect(try self.report { _ in }.p99BySecond == nil)
    }

    @Test func secondsAreBounded() {
        var tally = WorkerTally()
        tally.prepareSeconds(100_000)
        #expect(tally.deliveryBySecond.count == WorkerTally.secondsMax + 1)
        tally.recordDelivery(sent: 99_999_000_000_000, latency: 1_000_000)
        #expect(tally.deliveryBySecond.last?.totalCount == 1)
        tally.read(line: "second 100000 1000 1")
        #expect(tally.deliveryBySecond.count == WorkerTally.secondsMax + 1)
    }

    private func report(_ change: (inout WorkerTally) -> Void) throws -> LoadReport {
        var tally = WorkerTally()
        tally.connected = 10
        tally.published = 5
        tally.windowNanoseconds = 1_000_000_000
        change(&tally)
        return LoadReport(settings: try .parsed(["-n", "10"]), tally: tally, samples: RunSamples(), isInterrupted: false)
    }

    @Test func reportsThatTheLoadToolWasTheBottleneck() throws {
        #expect(try self.report { _ in }.bottlenecks == [])
        let busy = try self.report { $0.cpuMillionths = 910_000 }
        #expect(busy.bottlenecks == ["a worker used 91 % of a CPU"])
        #expect(busy.table.contains("was the bottleneck (a worker used 91 % of a CPU)"))
        #expect(busy.json.contains(#""generator":{"ok":false,"bottlenecks":["a worker used 91 % of a CPU"]"#))
        #expect(try self.report { $0.runDelayMillionths = 200_000 }.bottlenecks.count == 1)
        let late = try self.report { tally in _ = tally.lateness.record(20_000_000) }
        #expect(late.bottlenecks.count == 1)
        let full = try self.report { tally in
            tally.wakes = 1000
            tally.fullWakes = 900
            tally.cpuMillionths = 750_000
        }
        #expect(full.bottlenecks == ["a worker always had more data to read than it could process in one turn"])
        let burst = try self.report { tally in
            tally.wakes = 1000
            tally.fullWakes = 900
        }
        #expect(burst.bottlenecks == [])
    }

    @Test func failsOnLossRepetitionAndReordering() throws {
        #expect(try self.report { _ in }.isComplete)
        #expect(try !self.report { $0.lost = 1 }.isComplete)
        #expect(try !self.report { $0.repeated = 1 }.isComplete)
        #expect(try !self.report { $0.reordered = 1 }.isComplete)
        #expect(try !self.report { $0.connectFailed = 1 }.isComplete)
        #expect(try self.report { $0.count(error: "publish: status 401") }.verdict.contains("REALERTIME_API_TOKEN"))
        #expect(try self.report { $0.lost = 1234 }.verdict == "1,234 deliveries were lost")
        #expect(try self.report { $0.count(error: "a\"\\\n") }.json.contains(#""errors":{"a\"\\\n":1}"#))
    }

    @Test func numbersAreReadable() {
        #expect([0, 999, 1000, 1_234_567].map { UInt64($0).grouped } == ["0", "999", "1,000", "1,234,567"])
        #expect([0.0, 1.25, 12345.678, -0.05].map { $0.fixed(2) } == ["0.00", "1.25", "12,345.68", "-0.05"])
        #expect(UInt64(1500).asTime == "1.5 µs" && UInt64(2_500_000).asTime == "2.50 ms" && UInt64(3_000_000_000).asTime == "3.00 s")
    }

    @Test func processesAreSampled() throws {
        #expect(ProcessSampler.fields("7 (a (b) c) S 1 2")?.map(String.init) == ["S", "1", "2"])
        let sample = ProcessSampler(processIDs: [getpid()], measuresChildren: true).sample()
        #expect(sample.processes.contains { $0.pid == getpid() })
        #expect(sample.residentBytes > 1_000_000)
        #expect(ProcessSampler.usage(0x7FFF_FFFF) == nil)
        let earlier = ProcessSample(nanoseconds: 0, processes: [.init(pid: 1, cpuSeconds: 1, residentBytes: 0)])
        let later = ProcessSample(
            nanoseconds: 2_000_000_000,
            processes: [.init(pid: 1, cpuSeconds: 2, residentBytes: 0), .init(pid: 2, cpuSeconds: 9, residentBytes: 0)]
        )
        #expect(later.cpuPercent(since: earlier) == 50)
    }
}

@Suite struct SettingsTests {
    @Test(arguments: [
        ["--channels-per-subscriber", "2"], ["--api", "127.0.0.1 1"], ["--pin", "x"],
        ["--subscribe-url", "http://h/", "-c", "2"], ["--publish-url", "http://h/", "-c", "2"], ["--publish-body", "x"], ["--header", "x"],
        ["-n", "50000", "--processes", "1"], ["--churn", "5", "--transport", "lp"], ["--subscribe-url", "https://h/"],
    ])
    func refusesInvalidOptions(arguments: [String]) {
        #expect { try LoadSettings.parsed(arguments) } throws: { ($0 as? LoadError)?.code == .usage }
    }

    @Test func usesAsManyProcessesAndAddressesAsNeeded() throws {
        var settings = try LoadSettings.parsed(["-n", "50000"])
        #expect(settings.plan.processes == 6)
        try settings.chooseSourceAddresses(limits: LocalLimits(descriptors: 10_000, ports: 28_000))
        #expect(settings.sourceAddresses == 2)
        var few = try LoadSettings.parsed(["-n", "50000", "--source-addresses", "1"])
        let limits = LocalLimits(descriptors: 10_000, ports: 28_000)
        #expect(throws: LoadError.self) { try few.chooseSourceAddresses(limits: limits) }
    }

    @Test func writesRequests() throws {
        let settings = try LoadSettings.parsed([
            "--publish-body", #"{"channel":"{channel}","data":{payload}}"#, "--api-token", "secret", "--publish-url", "http://h:1/api",
        ])
        let head = String(decoding: settings.publishHead(channel: 7), as: UTF8.self)
        #expect(head.hasPrefix("POST /api HTTP/1.1\r\nHost: h:1\r\nContent-Length: 148\r\n"))
        #expect(head.contains("\r\nAuthorization: Bearer secret\r\n"))
        #expect(head.hasSuffix(#"{"channel":"load-7","data":"#))
        #expect(settings.publishTail(channel: 7) == Array("}".utf8))
    }
}

@Suite struct TargetTests {
    private static let environment = [
        "REALERTIME_URL": "http://a:1", "REALERTIME_API_URL": "http://b:2", "REALERTIME_API_TOKEN": "secret", "REALERTIME_OTHER": "x",
    ]

    private func target(_ arguments: [String], _ environment: [String: String] = environment) throws -> LoadSettings {
        let command = try LoadCommand.parse(arguments)
        return try LoadSettings(
            target: try command.target.filled(from: environment), shape: command.shape, time: command.time, resources: command.resources,
            limits: LocalLimits(descriptors: 10_000, ports: 28_000))
    }

    /// The node's address and token come from the same sources as in the other commands.
    @Test func theEnvironmentContainsTheNodesAddressAndToken() throws {
        let plain = try self.target([], [:])
        #expect(plain.subscribe.authority == "127.0.0.1:8080" && plain.publish.authority == "127.0.0.1:8081" && plain.publishHeaders == [])
        let empty = try self.target([], ["REALERTIME_URL": "", "REALERTIME_API_URL": "", "REALERTIME_API_TOKEN": ""])
        #expect(empty.subscribe == plain.subscribe && empty.publish == plain.publish && empty.publishHeaders == [])
        let filled = try self.target([])
        #expect(filled.subscribe.authority == "a:1" && filled.publish.authority == "b:2" && filled.publishHeaders == ["Authorization: Bearer secret"])
        let given = try self.target(["--url", "http://c:3", "--api", "http://d:4", "--api-token", "other"])
        #expect(given.subscribe.authority == "c:3" && given.publish.authority == "d:4" && given.publishHeaders == ["Authorization: Bearer other"])
    }

    @Test func subscribersMayHaveSeveralTargets() throws {
        let several = try self.target(["--url", "http://c:3", "--url", "http://d:4"])
        #expect(several.subscribeTargets.map(\.authority) == ["c:3", "d:4"] && several.subscribe.authority == "c:3")
        #expect(throws: LoadError.self) { try self.target(["--url", "http://c:3", "--url", "http://d:4/base"], [:]) }
    }

    @Test func noOtherServerGetsTheToken() throws {
        let other = ["--subscribe-url", "http://c:3/{channel}", "--publish-url", "http://d:4/{channel}"]
        #expect(try self.target(other).publishHeaders == [])
        #expect(try self.target(other + ["--api-token", "other"]).publishHeaders == ["Authorization: Bearer other"])
    }

    @Test(arguments: [("--api", "127.0.0.1 1", "8081"), ("--url", "127.0.0.1 1", "8080"), ("--publish-url", "h x", "{channel}")])
    func anInvalidURLIsReportedWithItsOption(option: String, url: String, example: String) {
        #expect {
            try self.target([option, url], [:])
        } throws: { error in
            let text = "\(error)"
            return text.hasPrefix("Error: \(option) ") && text.contains(example)
        }
    }

    @Test func theTokenMayComeFromAFile() throws {
        let path = "/tmp/realertime-load-token-\(UInt64.random(in: 0 ... .max))"
        defer { unlink(path) }
        func write(_ bytes: [UInt8]) {
            let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
            _ = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            close(file)
        }
        func write(_ text: String) { write(Array(text.utf8)) }
        write("open sesame 1\nx\n")
        #expect(try self.target(["--api-token-file", path]).publishHeaders == ["Authorization: Bearer open sesame 1"])
        #expect(try self.target([], ["REALERTIME_API_TOKEN_FILE": path]).publishHeaders == ["Authorization: Bearer open sesame 1"])
        #expect(try self.target(["--api-token", "t"], ["REALERTIME_API_TOKEN_FILE": path]).publishHeaders == ["Authorization: Bearer t"])
        #expect {
            try self.target(["--api-token", "t", "--api-token-file", path])
        } throws: { error in
            LoadCommand.exitCode(for: error).rawValue == 64 && LoadCommand.message(for: error).contains("keep one")
        }
        #expect(throws: LoadError.self) { try self.target([], ["REALERTIME_API_TOKEN": "t", "REALERTIME_API_TOKEN_FILE": path]) }
        for bad in ["", "\n", " a\n", "a \n", "a\u{1B}b"] {
            write(bad)
            #expect(throws: LoadError.self) { try self.target(["--api-token-file", path]) }
            #expect(throws: LoadError.self) { try self.target([], ["REALERTIME_API_TOKEN_FILE": path]) }
        }
        write([0x61, 0xFF, 0x0A])
        let error = #expect(throws: LoadError.self) { try self.target(["--api-token-file", path]) }
        #expect(error?.message == "--api-token-file \(path) is not UTF-8 text")
        unlink(path)
        #expect(throws: LoadError.self) { try self.target(["--api-token-file", path]) }
    }

    @Test func aTokenThatNoHeaderCanContainIsRefused() {
        for bad in [" a", "a ", "a\u{1B}b", "a\nb"] {
            let flag = #expect(throws: LoadError.self) { try self.target(["--api-token", bad], [:]) }
            let variable = #expect(throws: LoadError.self) { try self.target([], ["REALERTIME_API_TOKEN": bad]) }
            let reason = " begins or ends with a space, or contains a control character: an HTTP header cannot contain this token"
            #expect(flag?.message == "--api-token" + reason && variable?.message == "REALERTIME_API_TOKEN" + reason)
        }
    }

    /// Refused numbers, and their messages.
    @Test func everyNumberIsCheckedByTheParser() {
        let options = [
            ("--subscribers", "-5"), ("--subscribers", "10000001"), ("--channels", "0"), ("--channels-per-subscriber", "0"), ("--rate", "-1"),
            ("--rate", "nan"),
            ("--rate", "1e-300"), ("--publishers", "0"), ("--payload-bytes", "1"), ("--churn", "-1"), ("--churn-at-once", "0"), ("--warm-up", "-1"),
            ("--duration", "0"), ("--duration", "inf"), ("--drain", ""), ("--settle", "x"), ("--hold", "1e7"), ("--connect-rate", "1e-300"),
            ("--connect-rate", "-3"), ("--connects-in-flight", "0"), ("--timeout", "0"), ("--timeout", "nan"), ("--source-addresses", "-1"),
            ("--processes", "257"),
            ("--pid", "-1"), ("--pid", "0"), ("--subscribers", "99999999999999999999"),
        ]
        for (option, value) in options {
            do {
                _ = try LoadCommand.parse([option, value])
                Issue.record("\(option) \(value) is accepted")
            } catch {
                let text = LoadCommand.message(for: error)
                #expect(text.contains(option) && text.contains("'\(value)' is invalid") && text.contains("allowed is "), "\(text)")
            }
        }
    }

    @Test func impossibleRunsAreRefusedBeforeTheyStart() throws {
        func refusal(_ arguments: [String], _ limits: LocalLimits) -> String? {
            do {
                let command = try LoadCommand.parse(arguments)
                _ = try LoadSettings(target: command.target, shape: command.shape, time: command.time, resources: command.resources, limits: limits)
                return nil
            } catch {
                return "\(error)"
            }
        }
        let small = LocalLimits(descriptors: 1024, ports: 28_000)
        #expect(refusal(["-n", "200000"], small) == nil)
        #expect(refusal(["-n", "1000000"], small)?.contains("use at most 244736 connections, or raise the descriptor limit (ulimit -Hn)") == true)
        #expect(refusal(["-n", "5000"], LocalLimits(descriptors: 1024, systemDescriptors: 4000, ports: 28_000))?.contains("raise fs.file-max") == true)
    }

    @Test func aNodeReportsItsCapacity() {
        func status(_ subscribers: String, listen: String = "127.0.0.1:8080") -> [UInt8] {
            Array(#"{"health":"healthy","listen":"\#(listen)","api":"127.0.0.1:8081","subscribers":{\#(subscribers)},"x":{"connections":9}}"#.utf8)
        }
        let capacity = NodeCapacity(response: status(#""connections":7,"connections_max":10,"subscriptions":3,"by_transport":{"sse":7}"#))
        #expect(capacity == NodeCapacity(used: 7, max: 10, port: 8080) && capacity?.free == 3 && NodeCapacity(used: 12, max: 10, port: 1).free == 0)
        #expect(NodeCapacity(response: status(#""connections":7,"connections_max":10"#, listen: "[::]:80"))?.port == 80)
        for other in [
            Array("HTTP/1.1 401 Unauthorized\r\n\r\n{}".utf8), [], status(#""connections":7"#), status(#""connections":7,"connections_max":0"#),
            status(#""connections":7,"connections_max":10"#, listen: "?"), Array(#"{"subscribers":{"connections":7,"connections_max":10}}"#.utf8),
        ] {
            #expect(NodeCapacity(response: other) == nil)
        }
    }

    @Test(arguments: [
        ("http://a:8080", "http://a:8081", true), ("http://A:8080", "http://a:8081", true), ("http://b:8080", "http://a:8081", false),
        ("http://a:80", "http://a:8081", false), ("http://a", "http://a:8081", false),
    ])
    func theCapacityCountsOnlyForTheNodeOfTheSubscribers(url: String, api: String, isSame: Bool) throws {
        let settings = try self.target(["--url", url, "--api", api], [:])
        let status = try #require(settings.status)
        #expect(NodeCapacity(used: 7, max: 10, port: 8080).describes(settings.subscribe, status: status) == isSame)
    }

    @Test func sentencesAreWrappedToTheTerminal() {
        #expect("one two three".wrapped(to: nil) == ["one two three"] && "one two three".wrapped(to: 7) == ["one two", "three"])
        #expect("a very-long-word b".wrapped(to: 5) == ["a", "very-long-word", "b"])
    }

    @Test func wrongUsageHasTheExitStatusOfTheOtherCommands() { #expect(LoadError.usage("x").code.rawValue == 64) }
}

extension LoadSettings {
    static func parsed(_ arguments: [String]) throws -> LoadSettings {
        let command = try LoadCommand.parse(arguments)
        return try LoadSettings(
            target: command.target, shape: command.shape, time: command.time, resources: command.resources,
            limits: LocalLimits(descriptors: 10_000, ports: 28_000)
        )
    }
}
