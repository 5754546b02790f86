/// Why JSON text was refused: a sentence for people that names the field and the problem.
package struct JSONError: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
