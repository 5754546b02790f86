/// The fields of a JSON object. `take` removes a field, so the reader does not support the fields that remain at the end.
package struct JSONObject: Sendable {
    package let name: String
    private let order: [String]
    private var fields: [String: JSONValue]

    init(name: String, order: [String], fields: [String: JSONValue]) {
        self.name = name
        self.order = order
        self.fields = fields
    }

    /// The names of the fields that have not been taken, in the order of the text.
    package var names: [String] { self.order.filter { self.fields[$0] != nil } }

    /// Nil only if the field is absent.
    package mutating func take(_ name: String) -> JSONValue? { self.fields.removeValue(forKey: name) }

    /// Nil if the field is absent or null.
    package mutating func optional(_ name: String) -> JSONValue? {
        guard let value = self.fields.removeValue(forKey: name), !value.isNull else { return nil }
        return value
    }

    package mutating func required(_ name: String) throws(JSONError) -> JSONValue {
        guard let value = self.optional(name) else { throw JSONError("\(self.name) has no \(name)") }
        return value
    }

    package mutating func string(_ name: String, bytesMax: Int) throws(JSONError) -> String {
        try self.required(name).string(bytesMax: bytesMax)
    }

    package mutating func integer(_ name: String, in limits: ClosedRange<Int64>) throws(JSONError) -> Int64 {
        try self.required(name).integer(in: limits)
    }

    /// Reads a case of an enumeration by its name. A name that this version does not support is stored in `remainder`, and `unknown` is returned.
    package mutating func name<Value: RawRepresentable<String>>(
        _ name: String, unknown: Value, remainder: inout JSONRemainder
    ) throws(JSONError) -> Value {
        let value = try self.required(name)
        if let known = Value(rawValue: try value.string(bytesMax: 100)) { return known }
        remainder.append(name, text: value.text)
        return unknown
    }

    /// Adds the fields that have not been taken to `remainder`, with their values unchanged.
    package func rest(into remainder: inout JSONRemainder) {
        for name in self.names { remainder.append(name, text: self.fields[name]!.text) }
    }
}
