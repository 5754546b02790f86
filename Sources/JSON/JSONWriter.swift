/// Writes compact JSON text into bytes. It adds the commas; the caller keeps objects and arrays paired by their closures.
package struct JSONWriter {
    package private(set) var bytes: [UInt8] = []
    /// A value has been written at this level, so the next needs a comma before it.
    private var needsComma = false

    package init() {}

    /// `body` writes the fields.
    package mutating func object(_ body: (inout JSONWriter) -> Void) { self.nest("{", "}", body) }

    /// `body` writes the elements.
    package mutating func array(_ body: (inout JSONWriter) -> Void) { self.nest("[", "]", body) }

    /// The name of the field whose value is written next.
    package mutating func name(_ name: String) {
        self.string(name)
        self.bytes.append(UInt8(ascii: ":"))
        self.needsComma = false
    }

    package mutating func string(_ text: String) {
        self.separate()
        self.bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): self.bytes += [UInt8(ascii: "\\"), byte]
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                self.bytes += Array("\\u00".utf8) + [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: self.bytes.append(byte)
            }
        }
        self.bytes.append(UInt8(ascii: "\""))
    }

    package mutating func integer(_ value: some BinaryInteger) { self.raw(String(value)) }

    /// A number in its shortest form that reads back the same; null for infinity and what is not a number, which JSON does not have.
    package mutating func number(_ value: Double) {
        guard value.isFinite else { return self.null() }
        self.raw(value.magnitude < 1e15 && Double(Int64(value)) == value ? String(Int64(value)) : value.description)
    }

    package mutating func null() { self.raw("null") }

    /// One valid JSON value, as it is.
    package mutating func raw(_ text: String) {
        self.separate()
        self.bytes += text.utf8
    }

    package mutating func field(_ name: String, _ value: String) {
        self.name(name)
        self.string(value)
    }

    package mutating func field(_ name: String, _ value: some BinaryInteger) {
        self.name(name)
        self.integer(value)
    }

    package mutating func field(_ name: String, _ value: Double) {
        self.name(name)
        self.number(value)
    }

    package mutating func fields(_ remainder: JSONRemainder) {
        for field in remainder.fields {
            self.name(field.name)
            self.raw(field.text)
        }
    }

    private mutating func nest(_ open: Unicode.Scalar, _ close: Unicode.Scalar, _ body: (inout JSONWriter) -> Void) {
        self.separate()
        self.bytes.append(UInt8(ascii: open))
        self.needsComma = false
        body(&self)
        self.bytes.append(UInt8(ascii: close))
        self.needsComma = true
    }

    private mutating func separate() {
        if self.needsComma { self.bytes.append(UInt8(ascii: ",")) }
        self.needsComma = true
    }
}
