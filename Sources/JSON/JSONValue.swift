/// One value of a valid JSON text, as a slice of that text. Objects, arrays and strings are built only when they are read.
///
/// `name` is the value's path in the text (`nodes[3].w`), for error messages.
package struct JSONValue: Sendable {
    package let name: String
    private let bytes: ArraySlice<UInt8>

    /// Reads bytes that are exactly one JSON value in UTF-8, no longer than `bytesMax`, nested no deeper than `depthMax`.
    package init(_ bytes: [UInt8], named name: String, bytesMax: Int, depthMax: Int = JSONScanner.depthMax) throws(JSONError) {
        guard !bytes.isEmpty else { throw JSONError("\(name) is empty") }
        guard bytes.count <= bytesMax else { throw JSONError("\(name) has \(bytes.count) bytes, but at most \(bytesMax) are allowed") }
        guard String(validating: bytes, as: UTF8.self) != nil else { throw JSONError("\(name) is not UTF-8") }
        let range = bytes.withUnsafeBytes { bytes -> Range<Int>? in
            var scanner = JSONScanner(bytes, depthMax: depthMax)
            guard let range = scanner.value(), scanner.isAtEnd() else { return nil }
            return range
        }
        guard let range else { throw JSONError("\(name) is not valid JSON, or is incomplete") }
        self.init(name: name, bytes: bytes[range])
    }

    private init(name: String, bytes: ArraySlice<UInt8>) {
        self.name = name
        self.bytes = bytes
    }

    /// The value's JSON text, unchanged.
    package var text: String { String(decoding: self.bytes, as: UTF8.self) }

    /// The value's JSON text, unchanged.
    package var utf8: [UInt8] { Array(self.bytes) }

    /// Writes the value. Each string and field name in the value is replaced by the result of `change`. Throws if a string is not valid text.
    package func write(to writer: inout JSONWriter<some JSONSink>, changing change: (String) -> String) throws(JSONError) {
        switch self.bytes.first {
        case UInt8(ascii: "{"):
            var fields = try self.object()
            try writer.object { (writer) throws(JSONError) in
                for name in fields.names {
                    writer.name(change(name))
                    try fields.take(name)!.write(to: &writer, changing: change)
                }
            }
        case UInt8(ascii: "["):
            let elements = try self.array(countMax: .max)
            try writer.array { (writer) throws(JSONError) in
                for element in elements { try element.write(to: &writer, changing: change) }
            }
        case UInt8(ascii: "\""): writer.string(change(try self.string(bytesMax: .max)))
        default: writer.raw(self.text)
        }
    }

    package var isNull: Bool { self.bytes.elementsEqual("null".utf8) }

    /// The fields, in order. A name that occurs twice is refused, because JSON parsers disagree about which of the two values counts.
    package func object() throws(JSONError) -> JSONObject {
        let found = self.scan { scanner -> [(String, Range<Int>)]? in
            var fields: [(String, Range<Int>)] = []
            return scanner.object { fields.append(($0, $1)) } ? fields : nil
        }
        guard let found else { throw JSONError("\(self.name) is not a JSON object, or one of its field names is not valid text") }
        var fields: [String: JSONValue] = [:]
        for (name, range) in found where fields.updateValue(self.part(range, named: "\(self.name).\(name)"), forKey: name) != nil {
            throw JSONError("\(self.name) has the field \(name.prefix(40).debugDescription) twice")
        }
        return JSONObject(name: self.name, order: found.map(\.0), fields: fields)
    }

    package func array(countMax: Int) throws(JSONError) -> [JSONValue] {
        let ranges = try self.ranges(countMax: countMax)
        return ranges.enumerated().map { self.part($0.element, named: "\(self.name)[\($0.offset)]") }
    }

    /// An array of whole numbers. Such arrays are long, so this function does not build a ``JSONValue`` for each number.
    package func integers(in limits: ClosedRange<Int64>, countMax: Int) throws(JSONError) -> [Int64] {
        let ranges = try self.ranges(countMax: countMax)
        var integers: [Int64] = []
        integers.reserveCapacity(ranges.count)
        for (index, range) in ranges.enumerated() {
            guard let integer = self.integer(at: range, in: limits) else {
                throw JSONError("\(self.name)[\(index)] is not a whole number from \(limits.lowerBound) to \(limits.upperBound)")
            }
            integers.append(integer)
        }
        return integers
    }

    package func integer(in limits: ClosedRange<Int64>) throws(JSONError) -> Int64 {
        guard let integer = self.integer(at: 0..<self.bytes.count, in: limits) else {
            throw JSONError("\(self.name) is not a whole number from \(limits.lowerBound) to \(limits.upperBound)")
        }
        return integer
    }

    package func number(in limits: ClosedRange<Double>) throws(JSONError) -> Double {
        guard self.bytes.first != UInt8(ascii: "\""), let number = Double(self.text), limits.contains(number) else {
            throw JSONError("\(self.name) is not a number from \(limits.lowerBound) to \(limits.upperBound)")
        }
        return number
    }

    package func boolean() throws(JSONError) -> Bool {
        if self.bytes.elementsEqual("true".utf8) { return true }
        guard self.bytes.elementsEqual("false".utf8) else { throw JSONError("\(self.name) is neither true nor false") }
        return false
    }

    package func string(bytesMax: Int) throws(JSONError) -> String {
        guard let string = self.scan({ $0.string() }) else { throw JSONError("\(self.name) is not a string of valid text") }
        guard string.utf8.count <= bytesMax else { throw JSONError("\(self.name) has \(string.utf8.count) bytes, but at most \(bytesMax) are allowed") }
        return string
    }

    private func ranges(countMax: Int) throws(JSONError) -> [Range<Int>] {
        guard let ranges = self.scan({ $0.array() }) else { throw JSONError("\(self.name) is not an array") }
        guard ranges.count <= countMax else { throw JSONError("\(self.name) has \(ranges.count) elements, but at most \(countMax) are allowed") }
        return ranges
    }

    private func integer(at range: Range<Int>, in limits: ClosedRange<Int64>) -> Int64? {
        guard
            let integer = Int64(
                String(decoding: self.bytes[self.bytes.startIndex + range.lowerBound..<self.bytes.startIndex + range.upperBound], as: UTF8.self))
        else { return nil }
        return limits.contains(integer) ? integer : nil
    }

    private func part(_ range: Range<Int>, named name: String) -> JSONValue {
        JSONValue(name: name, bytes: self.bytes[self.bytes.startIndex + range.lowerBound..<self.bytes.startIndex + range.upperBound])
    }

    private func scan<Result>(_ body: (inout JSONScanner) -> Result?) -> Result? {
        self.bytes.withUnsafeBytes { bytes in
            // The depth was checked when the whole text was read.
            var scanner = JSONScanner(bytes, depthMax: .max)
            return body(&scanner)
        }
    }
}
