import NIOConcurrencyHelpers

/// The actual addresses of the two ports, with a chosen port in place of 0. Empty until they are bound.
final class BoundAddresses: Sendable {
    private let addresses = NIOLockedValueBox((listen: "", api: ""))

    var listen: String {
        get { self.addresses.withLockedValue { $0.listen } }
        set { self.addresses.withLockedValue { $0.listen = newValue } }
    }

    var api: String {
        get { self.addresses.withLockedValue { $0.api } }
        set { self.addresses.withLockedValue { $0.api = newValue } }
    }

    /// Only the port: a client of one port learns no address that it cannot see.
    var listenPort: Substring { Self.port(of: self.listen) }
    var apiPort: Substring { Self.port(of: self.api) }

    private static func port(of address: String) -> Substring { address.split(separator: ":").last ?? "" }
}
