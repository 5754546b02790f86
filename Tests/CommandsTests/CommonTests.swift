import ArgumentParser
import Foundation
import Options
import TestKit
import Testing

@testable import Commands

@Suite struct CommonTests {
    @Test func backoffDoublesWithinItsBoundsAndFollowsTheHint() {
        var backoff = Backoff(base: .milliseconds(100), max: .seconds(2))
        for attempt in 0..<40 {
            let full = min(Duration.milliseconds(100) * (1 << min(attempt, 16)), .seconds(2))
            let wait = backoff.next()
            #expect(wait >= full / 2 && wait <= full)
        }
        let hinted = backoff.next(atLeast: .seconds(5))
        #expect(hinted >= .seconds(5) && hinted <= .milliseconds(6250))
        backoff.succeeded()
        #expect(backoff.next() <= .milliseconds(100))
        #expect(Set((0..<20).map { _ in Backoff().base * Double.random(in: 0...1) }).count > 1)
    }

    @Test func coloursNeedATerminalThatSupportsThem() {
        func terminal(_ isInteractive: Bool, _ noColour: String?, _ kind: String? = "xterm") -> Terminal {
            Terminal(descriptor: 1, isInteractive: isInteractive, noColour: noColour, kind: kind)
        }
        #expect(terminal(true, nil).paint("a", .red) == "\u{1B}[31ma\u{1B}[0m")
        #expect(terminal(true, "").hasColours)
        #expect(terminal(true, "1").paint("a", .red) == "a")
        #expect(!terminal(false, nil).hasColours)
        #expect(!terminal(true, nil, "dumb").hasColours)
    }

    @Test func numbersAreReadable() {
        #expect(Readable.count(0) == "0" && Readable.count(999) == "999" && Readable.count(1_234_567) == "1,234,567" && Readable.count(-1000) == "-1,000")
        #expect(Readable.count(1, "gap") == "1 gap" && Readable.count(0, "gap") == "0 gaps" && Readable.count(2000, "gap") == "2,000 gaps")
        #expect(Readable.bytes(1023) == "1023 B" && Readable.bytes(1536) == "1.5 KiB" && Readable.bytes(5 << 30) == "5.0 GiB")
        #expect(Readable.duration(seconds: 0) == "0s" && Readable.duration(seconds: 61) == "1m 1s" && Readable.duration(seconds: 90_000) == "1d 1h")
        #expect(Readable.rate(3) == "3.0/s" && Readable.rate(12_345.6) == "12,346/s")
        #expect(Readable.fixed(1.05, 2) == "1.05" && Readable.fixed(-0.04, 1) == "0.0" && Readable.fixed(-1.5, 1) == "-1.5")
        #expect(Readable.milliseconds(.microseconds(1250)) == "1.3 ms")
    }

    @Test func baseURLsAreParsed() throws {
        let base = try BaseURL(named: "--api", "http://h:81/x/")
        #expect(base == (try BaseURL(named: "--api", "HTTP://h:81/x")))
        #expect(base.description == "http://h:81/x" && base.authority == "h:81")
        #expect(try BaseURL(named: "--api", "https://h").description == "https://h")
        let v6 = try BaseURL(named: "--api", "http://[::1]:8081")
        #expect(v6.host == "::1" && v6.authority == "[::1]:8081")
        // The short form of an address, as tables and logs print it.
        #expect(try BaseURL(named: "--api", "localhost:8081") == BaseURL(named: "--api", "http://localhost:8081"))
        #expect(try BaseURL(named: "--api", "[::1]:81/x").description == "http://[::1]:81/x")
        #expect(try BaseURL(named: "--api", "h").port == 80)
    }

    @Test(arguments: [
        ("", "must contain a host name"), ("ftp://h", "must begin with http"), ("http://", "must contain a host name"), ("http://h?x=1", "no ?"),
        ("h/#a", "no #"),
        ("http://h:65536", "a number from 1 to 65535"), ("h:0", "a number from 1 to 65535"), ("h:-1", "a number from 1 to 65535"),
        ("h:", "a number from 1 to 65535"),
        ("h:99999999999999999999", "a number from 1 to 65535"), ("h:8081x", "a number from 1 to 65535"), ("h:+81", "a number from 1 to 65535"),
        ("::1:8081", "IPv6 address must be in brackets"), ("[::1", "is not closed"), ("[h]:1", "brackets must contain an IPv6 address"),
        ("[::1]81", "only a port may follow the bracket"),
        ("http://u:p@h:1", "no user name"), ("h:1/a b", "without spaces"), ("hé:1", "printable ASCII"), ("h\u{1B}[31m", "printable ASCII"),
    ])
    func invalidURLsAreRefusedWithTheRule(_ text: String, _ rule: String) {
        let error = #expect(throws: ValidationError.self) { try BaseURL(named: "--api", text) }
        #expect(error?.message.contains(rule) == true && error?.message.contains("http://127.0.0.1:8081") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\u{1B}") == false && error?.message.contains("u:p") == false)
    }

    @Test func timeoutsCancel() async throws {
        await #expect(throws: TimeoutError.self) { try await withTimeout(.milliseconds(20)) { try await Task.sleep(for: .seconds(60)) } }
        #expect(try await withTimeout(.seconds(60)) { 7 } == 7)
    }

    @Test func queuesAreBoundedAndKeepOrder() async {
        let queue = LineQueue(bytesMax: 10)
        let writer = Task {
            for number in 1...200 { await queue.put([.init(number: number, bytes: [1, 2, 3, 4])]) }
            await queue.finish()
        }
        var numbers: [Int] = []
        while true {
            let lines = await queue.take(7)
            if lines.isEmpty { break }
            numbers += lines.map(\.number)
        }
        await writer.value
        #expect(numbers == Array(1...200))
    }

    @Test func everyHelpHasAnExampleAndTheExitStatus() {
        let commands: [any ParsableCommand.Type] = [
            PublishCommand.self, SubscribeCommand.self, StatusCommand.self, DoctorCommand.self, MembersCommand.self, PartitionsCommand.self,
            LocateCommand.self, PlanCommand.self, RebalanceCommand.self, DrainCommand.self, UndrainCommand.self, CordonCommand.self,
            UncordonCommand.self, MoveCommand.self, ForgetCommand.self, EventsCommand.self,
        ]
        for help in commands.map({ $0.helpMessage() }) {
            let words = help.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            #expect(words.contains("EXAMPLES: realertime ") && words.contains("3 the node cannot be reached"))
            #expect(words.contains("EXIT STATUS: 0 healthy 1 degraded") || words.contains("EXIT STATUS: 0 success"))
        }
    }

    @Test func contradictoryOptionsAreRefused() {
        for arguments in [
            ["a", "-", "--id", "x"], ["a", "b", "--concurrency", "2"], ["a", "-", "--concurrency", "0"], ["a", "b", "--type", "x\ny"],
            ["a", "b", "--api", "non sense"], ["a", "b", "--timeout", "0"], ["", "b"], [], ["a//b", "c"], ["a", "", "c"],
            ["a", "b", "--api", "http://a:1,http://b:2"], ["a", "b", "--api-token", "t", "--api-token-file", "f"], ["a", "b", "--api", ""],
        ] {
            #expect(throws: (any Error).self, "\(arguments)") { try PublishCommand.parse(arguments) }
        }
        for arguments in [
            [], ["a//b"], ["/"], ["a", ""], ["a", "--cursor-file", ""], ["a", "--url", ""], ["a", "--backlog", "0"],
            ["a", "--since", "c", "--cursor-file", "f"], ["a", "--max", "0"], ["a", "-v", "-o", "json"],
        ] {
            #expect(throws: (any Error).self, "\(arguments)") { try SubscribeCommand.parse(arguments) }
        }
        for arguments in [["a/b", "-", "--concurrency", "4", "--timeout", "0.5"], ["a", "b", "hello"], ["a"], ["a", "b", "--api", "localhost:8081"]] {
            #expect(throws: Never.self) { try PublishCommand.parse(arguments) }
        }
        for arguments in [["a/b"], ["a", "b/c"], ["a", "--url", "localhost:8080"]] {
            #expect(throws: Never.self) { try SubscribeCommand.parse(arguments) }
        }
    }

    /// Refused numbers, and their messages. None of them may be treated as an option, or as a different number.
    @Test func everyNumberIsCheckedByTheParser() {
        let commands: [(any ParsableCommand.Type, [String], String, allowed: [String])] = [
            (PublishCommand.self, ["a", "-"], "--concurrency", ["1", "1024"]), (PublishCommand.self, ["a", "b"], "--timeout", ["0.001", "1e3"]),
            (SubscribeCommand.self, ["a"], "--backlog", ["1", "9223372036854775807"]), (SubscribeCommand.self, ["a"], "--max", ["1"]),
            (SubscribeCommand.self, ["a"], "--timeout", ["0.5"]), (StatusCommand.self, [], "--timeout", ["5"]), (DoctorCommand.self, [], "--timeout", ["5"]),
            (MembersCommand.self, [], "--timeout", ["31536000"]), (DrainCommand.self, ["n1"], "--within", ["1"]),
            (EventsCommand.self, [], "--since", ["0"]), (EventsCommand.self, [], "--after", ["0", "7"]),
        ]
        for (command, arguments, option, allowed) in commands {
            for value in allowed { #expect(throws: Never.self, "\(command) \(option) \(value)") { try command.parse(arguments + [option, value]) } }
            for value in ["-1", "-5.5", "99999999999999999999", "1e300", "nan", "inf", "-inf", "", " ", "x", "--no", "0x"] {
                do {
                    _ = try command.parse(arguments + [option, value])
                    Issue.record("\(command) \(option) \(value) is accepted")
                } catch {
                    let text = command.message(for: error)
                    #expect(text.contains("'\(value)' is invalid for '\(option)") && text.contains("allowed is a "), "\(option) \(value): \(text)")
                }
            }
        }
        for value in ["", "x", "65536", "1.5", "nan"] {
            do {
                _ = try MoveCommand.parse([value, "--to", "n1"])
                Issue.record("\(value) is accepted as a partition")
            } catch {
                #expect(MoveCommand.message(for: error).contains("allowed is a whole number, from 0 to 65535"))
            }
        }
    }

    @Test func aNegativeNumberIsNotReportedAsAnUnknownOption() throws {
        for (command, arguments) in [
            (MoveCommand.self, ["-1", "--to", "n1"]), (MoveCommand.self, ["-15", "--unpin"]), (PublishCommand.self, ["a", "-1.5"]),
        ] as [(any ParsableCommand.Type, [String])] {
            do {
                _ = try command.parse(arguments)
                Issue.record("\(arguments) is accepted")
            } catch {
                let problem = Arguments.problem(about: command.message(for: error), in: arguments)
                #expect(problem?.contains(" looks like an option. Numbers must not be negative") == true)
            }
        }
        // The error has another cause, or the number is allowed in this place.
        for arguments in [["--tpo", "x", "demo", "--", "-5"], ["--tpo", "x", "demo", "-5"]] {
            do {
                _ = try PublishCommand.parse(arguments)
                Issue.record("\(arguments) is accepted")
            } catch {
                let text = PublishCommand.message(for: error)
                #expect(Arguments.problem(about: text, in: arguments) == nil, "\(arguments): \(text)")
            }
        }
        #expect(Arguments.problem(about: "Missing expected argument '<data>'", in: ["publish", "--", "-5"]) == nil)
        #expect(Arguments.problem(about: "Unknown option '-x'", in: ["move", "-x"]) == nil && Arguments.problem(about: "other", in: ["-1"]) == nil)
    }

    @Test func argumentsThatAreNotUTF8AreRefused() {
        #expect(Arguments.problem(["publish", "a", "grüße \u{FFFD}"].map { Array($0.utf8) }) == nil)
        let problem = Arguments.problem([Array("publish".utf8), Array("a".utf8), [0x1B, 0x68, 0xFF]])
        #expect(problem?.hasPrefix("Argument 3, \"\\u001bh\u{FFFD}\", is not UTF-8 text. To publish other bytes, use standard input") == true)
        #expect(Arguments.problem([Array("drain".utf8), [0xC3]])?.hasSuffix("is not UTF-8 text.") == true)
    }

    @Test func tokensComeFromAFileWithTheirSpaces() throws {
        let path = TemporaryFolder.path()
        func token(_ text: String) throws -> String? {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            return try StatusCommand.parse(["--api-token-file", path]).api.secret.token()
        }
        #expect(try token("open sesame 1\n") == "open sesame 1" && token("open sesame 1") == "open sesame 1" && token("a\r\nb\n") == "a")
        for bad in ["", "\nb", " a\n", "a \n", "a\u{1B}b"] { #expect(throws: ValidationError.self) { try token(bad) } }
        try FileManager.default.removeItem(atPath: path)
        let error = #expect(throws: ValidationError.self) { try StatusCommand.parse(["--api-token-file", path]).api.secret.token() }
        #expect(error?.message.hasPrefix("--api-token-file \(path) does not exist (a relative path starts at /") == true)
    }

    /// The file of a token may be a pipe. A shell's `<(…)` and `/dev/stdin` are pipes.
    @Test func tokensComeFromAPipe() throws {
        let path = TemporaryFolder.path()
        try #require(mkfifo(path, 0o600) == 0)
        let writer = Thread {
            // Blocks until the pipe is read.
            guard let pipe = FileHandle(forWritingAtPath: path) else { return }
            try? pipe.write(contentsOf: Data("open sesame 1\n".utf8))
            try? pipe.close()
        }
        writer.start()
        #expect(try StatusCommand.parse(["--api-token-file", path]).api.secret.token() == "open sesame 1")
        for (file, reason) in [("/dev/zero", "is larger than 1048576 bytes."), ("/", "cannot be read: it is a folder.")] {
            let error = #expect(throws: ValidationError.self) { try StatusCommand.parse(["--api-token-file", file]).api.secret.token() }
            #expect(error?.message == "--api-token-file \(file) \(reason)")
        }
    }

    @Test func aClosedOutputEndsAWaitingCommand() async throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        defer { close(ends[1]) }
        let output = Terminal(descriptor: ends[1], isInteractive: false, noColour: nil, kind: nil)
        #expect(!output.isClosed)
        close(ends[0])
        // The command never writes to the output.
        await #expect(throws: OutputClosedError.self) {
            _ = try await untilInterrupted(orClosed: output) { try await Task.sleep(for: .seconds(600)) }
        }
    }
}
