/// The arguments from the system, before Swift decodes them as text.
package enum Arguments {
    /// The problem with the arguments, if any. A `String` would contain U+FFFD for bytes that are not UTF-8, and an altered payload would be published.
    ///
    /// - Parameter arguments: without the program's name.
    package static func complaint(_ arguments: [[UInt8]]) -> String? {
        guard let index = arguments.firstIndex(where: { String(validating: $0, as: UTF8.self) == nil }) else { return nil }
        let text = harmless(String(decoding: arguments[index].prefix(80), as: UTF8.self))
        let advice = arguments.first == Array("publish".utf8) ? " Any bytes can be published from standard input: realertime publish CHANNEL < FILE." : ""
        return "Argument \(index + 1), \"\(text)\", is not UTF-8 text.\(advice)"
    }

    /// The message for a number below 0, which ArgumentParser treats as an unknown option. Nil for every other error.
    package static func complaint(about error: String, in arguments: [String]) -> String? {
        let number = arguments.prefix { $0 != "--" }.first { number in
            guard number.wholeMatch(of: /-[0-9.]+/) != nil else { return false }
            // ArgumentParser names the number, or its first digit, which it reads as a short option.
            let isUnknown = [number[...], number.prefix(2)].contains { error.contains("Unknown option '\($0)'") }
            return isUnknown || error.contains("Missing expected argument")
        }
        return number.map { "\($0) looks like an option. No number here is below 0; if it is text, put -- before it." }
    }
}
