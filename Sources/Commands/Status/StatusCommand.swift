package import ArgumentParser

package struct StatusCommand: AsyncParsableCommand {
    package static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show how a node is.",
        discussion: """
            EXAMPLES:
              realertime status
              realertime status --watch
              realertime status -o json --api http://10.0.0.5:8081

            \(Help.exitStatus)
              It follows the node's health; with --watch, the last that was seen.
            """)

    @Flag(help: "Show it again every second, in place on a terminal, until Ctrl-C.")
    var watch = false

    @Option(name: [.short, .customLong("output")], help: "json is the node's answer as it came, with --watch one a line.")
    var output = OutputFormat.table

    @Option(help: ArgumentHelp("How long one answer may take.", valueName: "seconds"))
    var timeout = Seconds(5)

    @OptionGroup var api: APIOptions

    package init() {}

    package func validate() throws {
        _ = try self.api.base()
    }

    package func run() async throws {
        try await reporting {
            let base = try self.api.base()
            return try await withHTTPClient { http in
                let node = NodeClient(base: base, token: self.api.token, http: http, timeout: self.timeout.duration)
                guard self.watch else { return try await self.showOnce(node) }
                let last = LastStatus()
                _ = try await untilInterrupted { try await self.showRepeatedly(node, last) }
                return await last.status
            }
        }
    }

    private func showOnce(_ node: NodeClient) async throws -> CommandStatus {
        let (status, text) = try await self.look(at: node)
        try Terminal.standardOutput.write("\(text)\n".utf8)
        return status
    }

    private func look(at node: NodeClient) async throws -> (CommandStatus, String) {
        let answer = try node.expectOK(await node.get("/api/status"), for: "/api/status")
        let status = try NodeStatus(json: answer.body)
        let json = String(decoding: answer.body.filter { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        return (status.exitStatus, self.output == .json ? json : status.table(on: .standardOutput))
    }

    private func showRepeatedly(_ node: NodeClient, _ last: LastStatus) async throws {
        let output = Terminal.standardOutput
        let inPlace = output.isInteractive && self.output == .table
        if inPlace { try output.write("\u{1B}[2J".utf8) }
        while !Task.isCancelled {
            do {
                let (status, text) = try await self.look(at: node)
                await last.set(status)
                // Home, each line to its end, and what is left below: no flicker, as nothing is ever blank.
                let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
                try output.write((inPlace ? "\u{1B}[H" + lines.map { "\($0)\u{1B}[K\n" }.joined() + "\u{1B}[J" : "\(text)\n" + self.separator).utf8)
            } catch let failure as Failure where failure.status == .unreachable {
                await last.set(.unreachable)
                Terminal.standardError.writeLine(failure.message)
            } catch is CancellationError {
                return
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private var separator: String { self.output == .table ? "\n" : "" }
}

/// What `--watch` saw last.
private actor LastStatus {
    private(set) var status = CommandStatus.unreachable

    func set(_ status: CommandStatus) {
        self.status = status
    }
}
