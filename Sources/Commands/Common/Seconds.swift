import ArgumentParser

/// The value of an option for a time limit.
struct Seconds: Sendable, Equatable, CustomStringConvertible {
    private static let max = 31_536_000.0

    var duration: Duration

    init(_ seconds: Int) {
        self.duration = .seconds(seconds)
    }

    /// For an option's `transform`. The error states the allowed values.
    init(text: String) throws {
        guard let seconds = Double(text), seconds >= 0.001, seconds <= Self.max else {
            throw ValidationError("allowed is a number of seconds from 0.001 to 31536000 (a year).")
        }
        self.duration = .milliseconds(Int((seconds * 1000).rounded(.up)))
    }

    var description: String { Readable.fixed(self.duration.seconds, 3).replacing(/\.?0+$/, with: "") }
}
