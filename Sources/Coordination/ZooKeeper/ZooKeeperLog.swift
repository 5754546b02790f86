import CZooKeeper
import NIOConcurrencyHelpers

/// The C client's log: only warnings and errors. INFO lines contain less than the reported states, and at DEBUG the client reads freed memory (ZOOKEEPER-4809).
///
/// The process has only one log, because the client's callback has no context. No line contains a credential.
package enum ZooKeeperLog {
    package enum Level: Hashable, Sendable {
        case warning
        case error
    }

    private static let handler = NIOLockedValueBox<(@Sendable (Level, String) -> Void)?>(nil)
    private static let lastFault = NIOLockedValueBox<String?>(nil)

    /// The client's last error when it tried to connect to a server, such as "Connection refused".
    package static var fault: String? { self.lastFault.withLockedValue { $0 } }

    /// Sets the handler of the lines. It is called on the client's threads and must not block. Without a handler lines are dropped.
    package static func forward(to handler: (@Sendable (Level, String) -> Void)?) {
        self.handler.withLockedValue { $0 = handler }
    }

    /// Sets the log level, once for the whole process.
    static let configure: Void = zoo_set_debug_level(ZOO_LOG_LEVEL_WARN)

    /// Lines look like `2026-01-31 12:00:00,000:1234(0x7f):ZOO_WARN@function@1746: text`.
    static func line(_ message: UnsafePointer<CChar>) {
        let line = String(cString: message)
        // `… zk retcode=-4, errno=111(Connection refused): server refused to accept the client`
        if let errno = line.firstRange(of: "errno=")?.upperBound, let open = line[errno...].firstIndex(of: "("),
            let close = line[open...].firstIndex(of: ")")
        {
            let fault = String(line[line.index(after: open)..<close])
            self.lastFault.withLockedValue { $0 = fault }
        }
        guard let handler = self.handler.withLockedValue({ $0 }) else { return }
        let pieces = line.split(separator: ":ZOO_", maxSplits: 1)
        let rest = pieces.count == 2 ? pieces[1] : Substring(line)
        let text = rest.split(separator: ": ", maxSplits: 1).last ?? rest
        handler(rest.hasPrefix("ERROR") ? .error : .warning, String(text))
    }
}
