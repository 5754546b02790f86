/// Why JSON text was refused, as a sentence for people: it names the field and what is wrong with it.
package struct JSONFailure: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}
