/// Checks of the program's arguments that ArgumentParser cannot make.
package enum Arguments {
    /// The message for an argument that is not UTF-8. Nil if all arguments are UTF-8. Swift would replace other bytes by U+FFFD, and `publish` would send an
    /// altered payload.
    ///
    /// - Parameter arguments: the bytes of each argument, without the program's name.
    package static func problem(_ arguments: [[UInt8]]) -> String? {
        guard let index = arguments.firstIndex(where: { String(validating: $0, as: UTF8.self) == nil }) else { return nil }
        let text = sanitized(String(decoding: arguments[index].prefix(80), as: UTF8.self))
        let advice = arguments.first == Array("publish".utf8) ? " To publish other bytes, use standard input: realertime publish CHANNEL < FILE." : ""
        return "Argument \(index + 1), \"\(text)\", is not UTF-8 text.\(advice)"
    }

    /// The message for a negative number. Nil for every other error. ArgumentParser treats a negative number as an unknown option.
    package static func problem(about error: String, in arguments: [String]) -> String? {
        let number = arguments.prefix { $0 != "--" }.first { number in
            guard number.wholeMatch(of: /-[0-9.]+/) != nil else { return false }
            // ArgumentParser's error names the number, or its first digit as a short option.
            let isUnknown = [number[...], number.prefix(2)].contains { error.contains("Unknown option '\($0)'") }
            return isUnknown || error.contains("Missing expected argument")
        }
        return number.map { "\($0) looks like an option. Numbers must not be negative. If this argument is a text, put -- before it." }
    }
}
