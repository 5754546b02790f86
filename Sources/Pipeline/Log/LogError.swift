package struct LogError: Error, CustomStringConvertible, Sendable {
    package struct Code: Hashable, Sendable {
        private enum Value: Hashable, Sendable { case unavailable, uncertain, fenced, unusable }
        private var value: Value
        /// Nothing of the commit was stored; the cause may go away (disk full, busy).
        package static let unavailable = Code(value: .unavailable)
        /// It is not known whether the commit was stored.
        package static let uncertain = Code(value: .uncertain)
        /// The partition is sealed under a newer owner epoch, or not under this one.
        package static let fenced = Code(value: .fenced)
        /// The log cannot be opened: a person must act (read-only folder, in use, corrupt file).
        package static let unusable = Code(value: .unusable)
    }

    package var code: Code
    /// A sentence that says what to change.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { self.message }
}
