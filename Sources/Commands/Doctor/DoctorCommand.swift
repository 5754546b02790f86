import JSON
package import ArgumentParser

package struct DoctorCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check a node and its cluster from outside, and say what is wrong and what to do.",
        usage: "realertime doctor [<options>]",
        discussion: """
            EXAMPLES:
              realertime doctor
              realertime doctor --api http://10.0.0.5:8081 --url https://events.example.org
              realertime doctor --heartbeats -o json

            It publishes to a channel of its own, realertime:doctor:<random>, receives by every transport, resumes, repeats a message \
            id, and compares the node's counters with what it did. Of a cluster it checks that there is a controller with a session, \
            that every partition has exactly one server under its owner epoch, that all have the same view and version and see each \
            other, and that no id is used twice and no alarm is raised.

            \(Help.exitStatus)
              1 when something is to be looked at, 2 when something fails.
            """)

    @Option(help: ArgumentHelp("The subscriber port. (env: REALERTIME_URL; default: where the node says it listens)", valueName: "url"))
    var url: String?

    @Flag(help: "Also wait for a heartbeat on every transport: up to 30 seconds.")
    var heartbeats = false

    @Option(name: [.short, .customLong("output")], help: "json prints all checks at the end.")
    var output = OutputFormat.table

    @Option(parsing: .unconditional, help: ArgumentHelp("How long one check may take. (default: 10)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(10)

    @OptionGroup var api: APIOptions

    package init() {}

    package func validate() throws {
        _ = try self.api.base()
        _ = try self.subscriber()
    }

    private func subscriber() throws -> BaseURL? {
        try given("--url", self.url, "REALERTIME_URL").map { try BaseURL(named: "--url", $0) }
    }

    package func run() async throws {
        try await reporting {
            let base = try self.api.base()
            let subscriber = try self.subscriber()
            let token = try self.api.secret.token()
            return try await withHTTPClient(connect: NodeClient.connectTimeout(within: self.timeout.duration)) { http in
                let node = NodeClient(base: base, token: token, http: http, timeout: self.timeout.duration)
                let isTable = self.output == .table
                let doctor = Doctor(node: node, url: subscriber, http: http, waitsForHeartbeats: self.heartbeats) { check in
                    if isTable { Terminal.standardOutput.writeLine(DoctorCommand.row(check, on: .standardOutput)) }
                }
                let diagnosis = try await doctor.examine()
                let end = isTable ? DoctorCommand.summary(diagnosis, on: .standardOutput) : DoctorCommand.json(diagnosis)
                try Terminal.standardOutput.write("\(end)\n".utf8)
                return diagnosis.exitStatus
            }
        }
    }

    // MARK: showing

    /// Below this width details are on separate lines.
    private static let detailWidthMin = 20

    /// Results are shown immediately, so the columns are as wide as the longest possible name.
    static func row(_ check: Check, on terminal: Terminal) -> String {
        let colour: Terminal.Colour =
            switch check.outcome {
            case .ok: .green
            case .skip: .dim
            case .warn: .yellow
            case .fail: .red
            }
        func padded(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(2, width - text.count)) }
        let outcome = terminal.paint(check.outcome.rawValue, colour) + String(repeating: " ", count: 6 - check.outcome.rawValue.count)
        let name = padded(check.name, 19)
        let isBeside = terminal.width.map { $0 - 6 - name.count >= Self.detailWidthMin } ?? true
        let indent = String(repeating: " ", count: isBeside ? 6 + name.count : 6)
        let width = terminal.width.map { $0 - indent.count }
        let detail = wrapped(harmless(check.detail), to: width)
        let advice = check.advice.map { wrapped($0, to: width.map { $0 - 2 }) } ?? []
        let lines = detail + advice.enumerated().map { ($0 == 0 ? "→ " : "  ") + $1 }
        let start = isBeside ? [name + (lines.first ?? "")] : wrapped(check.name, to: width) + lines.prefix(1)
        return outcome + (start + lines.dropFirst()).joined(separator: "\n" + indent)
    }

    static func summary(_ diagnosis: Diagnosis, on terminal: Terminal) -> String {
        func count(_ outcome: Check.Outcome) -> Int { diagnosis.checks.filter { $0.outcome == outcome }.count }
        return terminal.sentence(
            "\n\(diagnosis.health): \(count(.ok)) ok, \(count(.warn)) to look at, \(count(.fail)) failed, \(count(.skip)) skipped")
    }

    private static func json(_ diagnosis: Diagnosis) -> String {
        writtenJSON { writer in
            writer.object { writer in
                writer.name("checks")
                writer.array { writer in for check in diagnosis.checks { check.write(to: &writer) } }
                writer.field("health", diagnosis.health)
            }
        }
    }
}
