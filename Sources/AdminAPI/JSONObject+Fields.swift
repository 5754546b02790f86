import JSON

/// Fields of responses. The size of a whole response is limited, so its fields need no limits.
extension JSONObject {
    mutating func text(_ name: String) throws(JSONError) -> String { try self.required(name).text() }

    mutating func integer(_ name: String) throws(JSONError) -> Int { try self.required(name).integer() }

    mutating func number(_ name: String) throws(JSONError) -> Double { try self.required(name).number() }

    mutating func boolean(_ name: String) throws(JSONError) -> Bool { try self.required(name).boolean() }

    mutating func texts(_ name: String) throws(JSONError) -> [String] {
        try self.values(name) { value throws(JSONError) in try value.text() }
    }

    mutating func values<Value>(_ name: String, _ read: (JSONValue) throws(JSONError) -> Value) throws(JSONError) -> [Value] {
        var values: [Value] = []
        for value in try self.required(name).array(countMax: .max) { values.append(try read(value)) }
        return values
    }

    /// Returns the case of an enumeration that has this raw value, or `unknown`.
    mutating func name<Value: RawRepresentable<String>>(_ name: String, else unknown: Value) throws(JSONError) -> Value {
        Value(rawValue: try self.text(name)) ?? unknown
    }
}

extension JSONValue {
    func text() throws(JSONError) -> String { try self.string(bytesMax: .max) }

    func integer() throws(JSONError) -> Int { Int(try self.integer(in: Int64.min...Int64.max)) }

    /// A count. It must not be negative.
    func index() throws(JSONError) -> Int { Int(try self.integer(in: 0...Int64(Int32.max))) }

    func number() throws(JSONError) -> Double { try self.number(in: -Double.greatestFiniteMagnitude...Double.greatestFiniteMagnitude) }
}
