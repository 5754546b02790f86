/// The reason why a log refused a call, or why a call failed.
package struct LogError: Error, CustomStringConvertible, Sendable {
    package struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable { case unavailable, uncertain, fenced, lost, unusable }
        private var value: Value
        /// Nothing of the commit was stored. The cause may be temporary (a full disk, a locked file).
        package static let unavailable = Code(value: .unavailable)
        /// It is unknown whether the commit was stored.
        package static let uncertain = Code(value: .uncertain)
        /// The partition is sealed under a newer owner epoch, or is not sealed under the caller's owner epoch.
        package static let fenced = Code(value: .fenced)
        /// The storage has lost data of the partition, or may have lost it. It is unknown whether the commit was stored. The caller seals the partition again, reads
        /// its heads again, and publishes nothing until then.
        package static let lost = Code(value: .lost)
        /// The log cannot be used until a person repairs it: a read-only folder, a folder in use, a damaged file.
        package static let unusable = Code(value: .unusable)
    }

    package var code: Code
    /// A sentence for people: what is wrong and what to change.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
