import ArgumentParser

/// For an option's `transform`. Reads a whole number. The error states the allowed values.
package func wholeNumber(_ range: ClosedRange<Int>) -> @Sendable (String) throws -> Int {
    { text in
        guard let number = Int(text), range.contains(number) else {
            let bounds = range.upperBound == .max ? "\(range.lowerBound) or more" : "from \(range.lowerBound) to \(range.upperBound)"
            throw ValidationError("allowed is a whole number, \(bounds).")
        }
        return number
    }
}
