import Link
import Partitioning

/// Sends frames on one data connection. May be used from any thread.
struct LinkSender: Sendable {
    private let connection: LinkDataConnection

    init(_ connection: LinkDataConnection) {
        self.connection = connection
    }

    var session: UInt64 { self.connection.session }

    var peer: ProcessID { self.connection.peer }

    /// Returns false if too many bytes wait for the peer. Nothing is sent then.
    ///
    /// - Parameter isBulk: events, which the receiver can ask for again. They get a part of the space for waiting bytes, so that outcomes and replies always have room.
    func send(_ frame: RelayFrame, isBulk: Bool = false) -> Bool {
        self.connection.send(isBulk: isBulk) { frame.write(into: &$0) }
    }

    func close() { self.connection.close() }
}
