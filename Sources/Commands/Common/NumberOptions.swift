import ArgumentParser

/// A time limit.
struct Seconds: Sendable, Equatable, CustomStringConvertible {
    private static let max = 31_536_000.0

    var duration: Duration

    init(_ seconds: Int) {
        self.duration = .seconds(seconds)
    }

    /// For an option's `transform`: the error says what is allowed.
    init(text: String) throws {
        guard let seconds = Double(text), seconds >= 0.001, seconds <= Self.max else {
            throw ValidationError("allowed is a number of seconds from 0.001 to 31536000 (a year).")
        }
        self.duration = .milliseconds(Int((seconds * 1000).rounded(.up)))
    }

    var description: String { Readable.fixed(self.duration.seconds, 3).replacing(/\.?0+$/, with: "") }
}

/// For an option's `transform`: a whole number, or an error that says what is allowed.
func whole(_ range: ClosedRange<Int>) -> @Sendable (String) throws -> Int {
    { text in
        guard let number = Int(text), range.contains(number) else {
            let bounds = range.upperBound == .max ? "\(range.lowerBound) or more" : "from \(range.lowerBound) to \(range.upperBound)"
            throw ValidationError("allowed is a whole number, \(bounds).")
        }
        return number
    }
}
