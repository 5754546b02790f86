/// Why links cannot work, in a sentence that says what to change.
package struct LinkError: Error, CustomStringConvertible {
    package var description: String

    init(_ description: String) { self.description = description }
}
