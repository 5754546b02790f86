import SubscriberAPI

/// Prints the events and gaps of a subscription.
struct DeliveryPrinter: Sendable {
    enum Format: Sendable {
        /// One payload on each line. With details, the channel, the type and the cursor are before the payload.
        case lines(details: Bool)
        /// One envelope on each line, as received.
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
            self.notices.printSentence(
                "in \(gap.channel): the events from \(gap.from) to \(gap.to) are missing (\(DeliveryPrinter.explanation(gap.reason))).", lead: "GAP ", .yellow)
        case (.heartbeat, _):
            // Without events nothing is written, so a closed output is detected here.
            if self.output.isClosed { throw OutputClosedError() }
        case (.connected, _), (.cursor, _), (.retry, _):
            break
        }
    }

    private func line(_ envelope: Envelope, details: Bool) -> [UInt8] {
        // The payload is escaped only on a terminal. A pipe gets the payload unchanged.
        let text = self.output.isInteractive ? sanitized(envelope.text) : envelope.text
        guard details else { return text + [UInt8(ascii: "\n")] }
        let prefix = self.output.paint(sanitized("\(envelope.channel)\t\(envelope.type ?? "-")\t\(envelope.cursor)", keeping: ["\t"]), .dim)
        return Array("\(prefix)\t".utf8) + text + [UInt8(ascii: "\n")]
    }

    private static func explanation(_ reason: String) -> String {
        switch GapReason(rawValue: reason) {
        case .expired: "expired: the history no longer contains these events"
        case .overflow: "overflow: this subscriber was too slow"
        case .reset: "reset: the channel's history was lost, or the cursor belongs to another history"
        case nil: reason
        }
    }
}
