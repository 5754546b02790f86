/// What an object held that this version cannot name: unknown fields, and known fields with a value it does not know.
///
/// Kept as raw JSON text in the order it came and written back, so that an older node that rewrites what a newer one wrote loses nothing.
package struct JSONRemainder: Hashable, Sendable {
    package private(set) var fields: [Field] = []

    package struct Field: Hashable, Sendable {
        package let name: String
        /// One valid JSON value.
        package let text: String
    }

    package init() {}

    package var isEmpty: Bool { self.fields.isEmpty }

    package func contains(_ name: String) -> Bool { self.fields.contains { $0.name == name } }

    package mutating func append(_ name: String, text: String) { self.fields.append(Field(name: name, text: text)) }

    package mutating func remove(_ name: String) { self.fields.removeAll { $0.name == name } }
}
