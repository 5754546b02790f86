/// Writes compact JSON text into a sink, and adds the commas. The closures of `object` and `array` guarantee that brackets are paired.
package struct JSONWriter<Sink: JSONSink> {
    @usableFromInline package var sink: Sink
    /// True if a value has been written at this level. Then the next value needs a comma before it.
    @usableFromInline var needsComma = false

    /// Appends to the existing content of the sink.
    @inlinable
    package init(_ sink: Sink) {
        self.sink = sink
    }

    /// `body` writes the fields.
    @inlinable
    package mutating func object<Failure: Error>(_ body: (inout JSONWriter) throws(Failure) -> Void) throws(Failure) { try self.nest("{", "}", body) }

    /// `body` writes the elements.
    @inlinable
    package mutating func array<Failure: Error>(_ body: (inout JSONWriter) throws(Failure) -> Void) throws(Failure) { try self.nest("[", "]", body) }

    /// The name of the field whose value is written next.
    @inlinable
    package mutating func name(_ name: String) {
        self.string(name)
        self.sink.append(byte: UInt8(ascii: ":"))
        self.needsComma = false
    }

    @inlinable
    package mutating func string(_ text: String) {
        self.separate()
        self.sink.writeJSONString(text)
    }

    @inlinable
    package mutating func boolean(_ value: Bool) { self.raw(value ? "true" : "false") }

    @inlinable
    package mutating func integer(_ value: some BinaryInteger) { self.raw(String(value)) }

    /// Writes the shortest text that is read as the same number. Writes null for infinity and NaN, which JSON does not have.
    package mutating func number(_ value: Double) {
        guard value.isFinite else { return self.null() }
        self.raw(value.magnitude < 1e15 && Double(Int64(value)) == value ? String(Int64(value)) : value.description)
    }

    @inlinable
    package mutating func null() { self.raw("null") }

    /// Writes one valid JSON value unchanged.
    @inlinable
    package mutating func raw(_ text: String) {
        self.separate()
        self.sink.append(text: text)
    }

    /// Writes one value: `body` appends its text, which must be valid JSON.
    @inlinable
    package mutating func value(_ body: (inout Sink) -> Void) {
        self.separate()
        body(&self.sink)
    }

    /// Writes a string: `body` appends the text between the quotes, which must need no escaping.
    @inlinable
    package mutating func plainString(_ body: (inout Sink) -> Void) {
        self.separate()
        self.sink.append(byte: UInt8(ascii: "\""))
        body(&self.sink)
        self.sink.append(byte: UInt8(ascii: "\""))
    }

    /// Writes a number without making a string.
    @inlinable
    package mutating func field(_ name: String, _ value: UInt64) {
        self.name(name)
        self.value { $0.writeDecimal(value) }
    }

    @inlinable
    package mutating func field(_ name: String, _ value: String) {
        self.name(name)
        self.string(value)
    }

    @inlinable
    package mutating func field(_ name: String, _ value: some BinaryInteger) {
        self.name(name)
        self.integer(value)
    }

    package mutating func field(_ name: String, _ value: Double) {
        self.name(name)
        self.number(value)
    }

    @inlinable
    package mutating func field(_ name: String, _ value: Bool) {
        self.name(name)
        self.boolean(value)
    }

    package mutating func field(_ name: String, _ values: some Sequence<String>) {
        self.name(name)
        self.array { writer in for value in values { writer.string(value) } }
    }

    package mutating func fields(_ remainder: JSONRemainder) {
        for field in remainder.fields {
            self.name(field.name)
            self.raw(field.text)
        }
    }

    @inlinable
    mutating func nest<Failure: Error>(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) throws(Failure) -> Void
    ) throws(Failure) {
        self.separate()
        self.sink.append(byte: UInt8(ascii: open))
        self.needsComma = false
        try body(&self)
        self.sink.append(byte: UInt8(ascii: close))
        self.needsComma = true
    }

    @inlinable
    mutating func separate() {
        if self.needsComma { self.sink.append(byte: UInt8(ascii: ",")) }
        self.needsComma = true
    }
}

extension JSONWriter where Sink == [UInt8] {
    package init() { self.init([]) }

    package var bytes: [UInt8] { self.sink }
}
