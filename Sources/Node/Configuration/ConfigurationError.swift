/// The source of a value.
package enum ConfigurationOrigin: Hashable, Sendable, CustomStringConvertible {
    case flag(String)
    case variable(String)
    case file(path: String, line: Int)

    package var description: String {
        switch self {
        case .flag(let name): name
        case .variable(let name): name
        case .file(let path, let line): "\(path):\(line)"
        }
    }
}

/// All problems of a configuration. One run reports all of them, so that an operator can correct them together.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    package struct Problem: Hashable, Sendable, CustomStringConvertible {
        /// Nil if the problem concerns the configuration as a whole.
        package var origin: ConfigurationOrigin?
        package var message: String

        package init(_ message: String, at origin: ConfigurationOrigin? = nil) {
            self.origin = origin
            self.message = message
        }

        package var description: String {
            self.origin.map { "\($0): \(self.message)" } ?? self.message
        }
    }

    package var problems: [Problem]

    package init(_ problems: [Problem]) {
        self.problems = problems
    }

    package var description: String {
        guard self.problems.count > 1 else { return self.problems.first?.description ?? "The configuration is not valid." }
        return "The configuration has \(self.problems.count) problems:\n" + self.problems.map { "  \($0)" }.joined(separator: "\n")
    }
}
