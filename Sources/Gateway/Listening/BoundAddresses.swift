import NIOConcurrencyHelpers

/// The addresses that the two ports are bound to. A configured port of 0 is replaced by the actual port. Empty until the ports are bound.
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

    /// Messages to clients contain only the port, because they must not disclose internal addresses.
    var listenPort: Substring { Self.port(of: self.listen) }
    var apiPort: Substring { Self.port(of: self.api) }

    private static func port(of address: String) -> Substring { address.split(separator: ":").last ?? "" }
}
