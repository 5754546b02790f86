import ArgumentParser
import Testing

@testable import Commands

@Suite struct CommonTests {
    @Test func backoffDoublesWithinItsBoundsAndListensToTheServer() {
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

    @Test func coloursAreForTerminalsThatWantThem() {
        func terminal(_ isInteractive: Bool, _ noColour: String?, _ kind: String? = "xterm") -> Terminal {
            Terminal(descriptor: 1, isInteractive: isInteractive, noColour: noColour, kind: kind)
        }
        #expect(terminal(true, nil).paint("a", .red) == "\u{1B}[31ma\u{1B}[0m")
        #expect(terminal(true, "").hasColours)
        #expect(terminal(true, "1").paint("a", .red) == "a")
        #expect(!terminal(false, nil).hasColours)
        #expect(!terminal(true, nil, "dumb").hasColours)
    }

    @Test func columnsAlign() {
        var columns = Columns()
        columns.add("a", "bbb", "c")
        columns.add("aaaa", "b")
        #expect(columns.text() == "a     bbb  c\naaaa  b")
        #expect(columns.text(labelWidth: 5) == "a      bbb  c\naaaa   b" && columns.text(labelWidth: 2) == columns.text())
        #expect(columns.text { row, _, cell in row == 0 ? "<\(cell)>" : cell } == "<a>     <bbb>  <c>\naaaa  b")
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

    @Test func basesAreURLs() throws {
        let base = try BaseURL(named: "--api", "http://h:81/x/")
        #expect(base == (try BaseURL(named: "--api", "HTTP://h:81/x")))
        #expect(base.description == "http://h:81/x" && base.authority == "h:81")
        #expect(try BaseURL(named: "--api", "https://h").description == "https://h")
        let v6 = try BaseURL(named: "--api", "http://[::1]:8081")
        #expect(v6.host == "::1" && v6.authority == "[::1]:8081")
        for text in ["", "h:81", "ftp://h", "http://", "http://h?x=1"] {
            #expect(throws: ValidationError.self) { try BaseURL(named: "--api", text) }
        }
    }

    @Test func timeoutsCancel() async throws {
        await #expect(throws: TimedOut.self) { try await withTimeout(.milliseconds(20)) { try await Task.sleep(for: .seconds(60)) } }
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
            #expect(words.contains("EXAMPLES: realertime ") && words.contains("EXIT STATUS: 0 all is well") && words.contains("3 the node cannot be reached"))
        }
    }

    @Test func contradictoryOptionsAreRefused() {
        for arguments in [
            ["a", "-", "--id", "x"], ["a", "b", "--concurrency", "2"], ["a", "-", "--concurrency", "0"], ["a", "b", "--type", "x\ny"],
            ["a", "b", "--api", "nonsense"], ["a", "b", "--timeout", "0"], ["", "b"],
        ] {
            #expect(throws: (any Error).self, "\(arguments)") { try PublishCommand.parse(arguments) }
        }
        for arguments in [
            [], ["a/b"], ["a", "--backlog", "0"], ["a", "--since", "c", "--cursor-file", "f"], ["a", "--max", "0"], ["a", "-v", "-o", "json"],
        ] {
            #expect(throws: (any Error).self, "\(arguments)") { try SubscribeCommand.parse(arguments) }
        }
        #expect(throws: Never.self) { try PublishCommand.parse(["a/b", "-", "--concurrency", "4", "--timeout", "0.5"]) }
    }
}
