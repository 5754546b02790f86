/// The parts of an object that this version does not support: unknown fields, and known fields with an unknown value.
///
/// The remainder keeps raw JSON text in the original order, and is written again with the object. So an older node that rewrites an object of a newer node
/// loses no field.
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
