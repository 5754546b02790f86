/// Prints what a subscription delivers.
struct DeliveryPrinter: Sendable {
    enum Format: Sendable {
        /// One payload for each line; with details, the channel, type and cursor before it.
        case lines(details: Bool)
        /// One envelope for each line, as received.
        case json
    }

    var format: Format
    var output: Terminal
    var notices: Terminal

    func show(_ delivery: Delivery) throws {
        switch (delivery, self.format) {
        case (.event(let envelope), .json):
            try self.output.write(envelope.line + [UInt8(ascii: "\n")])
        case (.event(let envelope), .lines(let details)):
            try self.output.write(self.line(envelope, details: details))
        case (.gap(let gap), .json):
            try self.output.write(gap.line + [UInt8(ascii: "\n")])
        case (.gap(let gap), .lines):
            self.notices.say("in \(gap.channel): \(gap.from) to \(gap.to) are missing (\(DeliveryPrinter.why(gap.reason))).", lead: "GAP ", .yellow)
        case (.heartbeat, _):
            // On a quiet channel this detects that the output is closed.
            if self.output.isClosed { throw OutputClosed() }
        case (.connected, _), (.cursor, _), (.retry, _):
            break
        }
    }

    private func line(_ envelope: Envelope, details: Bool) -> [UInt8] {
        // A pipe gets the payload as published.
        let text = self.output.isInteractive ? harmless(envelope.text) : envelope.text
        guard details else { return text + [UInt8(ascii: "\n")] }
        let prefix = self.output.paint(harmless("\(envelope.channel)\t\(envelope.type ?? "-")\t\(envelope.cursor)", keeping: ["\t"]), .dim)
        return Array("\(prefix)\t".utf8) + text + [UInt8(ascii: "\n")]
    }

    private static func why(_ reason: String) -> String {
        switch reason {
        case "expired": "expired: history no longer holds them"
        case "overflow": "overflow: this reader was too slow for too long"
        case "reset": "reset: the channel's history was lost, or the cursor is not of it"
        default: reason
        }
    }
}
