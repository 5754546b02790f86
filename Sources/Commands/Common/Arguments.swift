/// What the system gave as arguments, before Swift has read it as text.
package enum Arguments {
    /// What is wrong with them. A `String` would have U+FFFD where bytes are not UTF-8, and something else would be published than was given.
    ///
    /// - Parameter arguments: without the program's name.
    package static func complaint(_ arguments: [[UInt8]]) -> String? {
        guard let index = arguments.firstIndex(where: { String(validating: $0, as: UTF8.self) == nil }) else { return nil }
        let text = harmless(String(decoding: arguments[index].prefix(80), as: UTF8.self))
        let advice = arguments.first == Array("publish".utf8) ? " Any bytes can be published from standard input: realertime publish CHANNEL < FILE." : ""
        return "Argument \(index + 1), \"\(text)\", is not UTF-8 text.\(advice)"
    }

    /// A number below 0, which ArgumentParser takes for an option that it does not know: it then misses an argument. Nil for every other error.
    package static func complaint(about error: String, in arguments: [String]) -> String? {
        guard error.contains("Unknown option '-") || error.contains("Missing expected argument"),
            let number = arguments.first(where: { $0.wholeMatch(of: /-[0-9.]+/) != nil })
        else { return nil }
        return "\(number) looks like an option. No number here is below 0; if it is text, put -- before it."
    }
}
