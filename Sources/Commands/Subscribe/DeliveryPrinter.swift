/// Shows what a subscription says.
struct DeliveryPrinter: Sendable {
    enum Format: Sendable {
        /// The payload a line; with details the channel, type and cursor before it.
        case lines(details: Bool)
        /// The envelope a line, as it came.
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
            self.notices.writeLine(
                self.notices.paint("GAP", .yellow) + " in \(gap.channel): \(gap.from) to \(gap.to) are missing (\(DeliveryPrinter.why(gap.reason))).")
        case (.heartbeat, _):
            // On a quiet channel this is how it is noticed that nobody reads any more.
            if self.output.isClosed { throw OutputClosed() }
        case (.connected, _), (.cursor, _), (.retry, _):
            break
        }
    }

    private func line(_ envelope: Envelope, details: Bool) -> [UInt8] {
        let text = self.output.isInteractive ? DeliveryPrinter.harmless(envelope.text) : envelope.text
        guard details else { return text + [UInt8(ascii: "\n")] }
        let prefix = self.output.paint("\(envelope.channel)\t\(envelope.type ?? "-")\t\(envelope.cursor)", .dim)
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

    /// Without what a terminal would obey: who publishes must not be able to draw on the screen of who reads.
    static func harmless(_ bytes: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\t"), UInt8(ascii: "\n"): result.append(byte)
            case 0..<0x20, 0x7F: result.append(UInt8(ascii: "?"))
            // The second byte of U+0080 to U+009F, which some terminals obey too.
            case 0x80..<0xA0 where result.last == 0xC2: result.replaceSubrange(result.count - 1..<result.count, with: [UInt8(ascii: "?")])
            default: result.append(byte)
            }
        }
        return result
    }
}
