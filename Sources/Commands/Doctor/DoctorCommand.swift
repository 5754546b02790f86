import JSON
package import ArgumentParser

package struct DoctorCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check a node and its cluster, and print each problem with advice.",
        usage: "realertime doctor [<options>]",
        discussion: """
            EXAMPLES:
              realertime doctor
              realertime doctor --api http://10.0.0.5:8081 --url https://events.example.org
              realertime doctor --heartbeats -o json

            The doctor publishes events to a temporary channel, realertime:doctor:<random>, and receives them with every transport. It \
            checks that a subscriber can resume, that a repeated message id publishes nothing, and that the node's counters include \
            these events. In a cluster it checks that there is a controller, that exactly one node serves each partition, that all nodes \
            have the same view and version and reach each other, that each node id is used once, and that there is no alarm.

            \(Help.exitStatus)
              1 means that at least one check has a warning.
              2 means that at least one check failed.
            """)

    @Option(
        help: ArgumentHelp(
            "The URL of the node's subscriber port. (env: REALERTIME_URL; default: the listen address in the node's status)", valueName: "url"))
    var url: String?

    @Flag(help: "Also wait for a heartbeat on every transport. This takes up to 30 seconds.")
    var heartbeats = false

    @Option(name: [.short, .customLong("output")], help: "table prints each check when it ends; json prints all checks at the end.")
    var output = OutputFormat.table

    @Option(
        parsing: .unconditional, help: ArgumentHelp("The time limit for one check. (default: 10)", valueName: "seconds"), transform: Seconds.init(text:))
    var timeout = Seconds(10)

    @OptionGroup var api: APIOptions

    package init() {}

    package func validate() throws {
        _ = try self.api.base()
        _ = try self.subscriber()
    }

    private func subscriber() throws -> BaseURL? {
        try optionOrVariable("--url", self.url, "REALERTIME_URL").map { try BaseURL(named: "--url", $0) }
    }

    package func run() async throws {
        try await reporting {
            let subscriber = try self.subscriber()
            return try await self.api.withClient(timeout: self.timeout.duration) { node in
                let isTable = self.output == .table
                let doctor = Doctor(node: node, url: subscriber, http: node.http, waitsForHeartbeats: self.heartbeats) { check in
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

    /// The details are on separate lines if they would otherwise have less space than this.
    private static let detailWidthMin = 20

    /// One result as text. Results are printed one by one, so the columns have fixed widths.
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
        let detail = wrapped(sanitized(check.detail), to: width)
        let advice = check.advice.map { wrapped($0, to: width.map { $0 - 2 }) } ?? []
        let lines = detail + advice.enumerated().map { ($0 == 0 ? "→ " : "  ") + $1 }
        let start = isBeside ? [name + (lines.first ?? "")] : wrapped(check.name, to: width) + lines.prefix(1)
        return outcome + (start + lines.dropFirst()).joined(separator: "\n" + indent)
    }

    static func summary(_ diagnosis: Diagnosis, on terminal: Terminal) -> String {
        func count(_ outcome: Check.Outcome) -> Int { diagnosis.checks.filter { $0.outcome == outcome }.count }
        return terminal.sentence(
            "\n\(diagnosis.health): \(count(.ok)) ok, \(Readable.count(count(.warn), "warning")), \(count(.fail)) failed, \(count(.skip)) skipped")
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
