import JSON
import NIOCore
import Pipeline

/// The fields of a request's JSON object, as ranges of the body. So a payload is never decoded and encoded again. Pure.
///
/// `JSONValue` is not used here: it copies the body, and its error messages do not list the fields of the API.
struct JSONFields {
    private let body: ByteBuffer
    private var ranges: [(name: String, range: Range<Int>)] = []
    private let names: [String]

    /// Throws if the body is not exactly one JSON object, or has a field that is not in `names`.
    init(_ body: ByteBuffer, names: [String]) throws(HTTPError) {
        self.body = body
        self.names = names
        let parsed = body.withUnsafeReadableBytes { bytes -> Result<[(name: String, range: Range<Int>)]?, HTTPError> in
            do throws(HTTPError) {
                guard PayloadForm.isUTF8(bytes) else { return .success(nil) }
                return .success(try Self.fields(bytes, names))
            } catch {
                return .failure(error)
            }
        }
        guard let ranges = try parsed.get() else { throw .badBody("the body is not a JSON object with the fields \(Self.list(names))") }
        self.ranges = ranges
    }

    /// Nil if the text is not an object.
    private static func fields(_ bytes: UnsafeRawBufferPointer, _ names: [String]) throws(HTTPError) -> [(name: String, range: Range<Int>)]? {
        var scanner = JSONScanner(bytes)
        var fields: [(name: String, range: Range<Int>)] = []
        let isObject = try scanner.object { (name, range) throws(HTTPError) in
            // This check comes before the search for a repeated name. With many unknown names, that search would take quadratic time.
            guard names.contains(name) else {
                throw .badBody("the field \(name.prefix(40).debugDescription) is unknown; the fields are \(Self.list(names))")
            }
            guard !fields.contains(where: { $0.name == name }) else { throw .badBody("the field \"\(name)\" occurs more than once; send it once") }
            fields.append((name, range))
        }
        return isObject && scanner.isAtEnd() ? fields : nil
    }

    /// The raw JSON of a field. Nil if the field is absent.
    func raw(_ name: String) -> ByteBuffer? {
        guard let range = self.ranges.first(where: { $0.name == name })?.range else { return nil }
        return self.body.getSlice(at: self.body.readerIndex + range.lowerBound, length: range.count)
    }

    /// Nil if the field is absent or null.
    func string(_ name: String) throws(HTTPError) -> String? {
        guard let raw = self.present(name) else { return nil }
        let value = raw.withUnsafeReadableBytes { bytes -> String? in
            var scanner = JSONScanner(bytes)
            return scanner.string()
        }
        guard let value else { throw .badBody("the field \"\(name)\" must be a string") }
        return value
    }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(HTTPError) -> Int? {
        guard let raw = self.present(name) else { return nil }
        guard let value = Int(String(buffer: raw)), range.contains(value) else {
            throw .badBody("the field \"\(name)\" must be a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func boolean(_ name: String) throws(HTTPError) -> Bool? {
        guard let raw = self.present(name) else { return nil }
        switch String(buffer: raw) {
        case "true": return true
        case "false": return false
        default: throw .badBody("the field \"\(name)\" must be true or false")
        }
    }

    /// The raw JSON of each element of an array. Nil if the field is absent or null.
    func array(_ name: String) throws(HTTPError) -> [ByteBuffer]? {
        guard let raw = self.present(name) else { return nil }
        let ranges = raw.withUnsafeReadableBytes { bytes -> [Range<Int>]? in
            var scanner = JSONScanner(bytes)
            return scanner.array()
        }
        guard let ranges else { throw .badBody("the field \"\(name)\" must be an array") }
        return ranges.map { raw.getSlice(at: raw.readerIndex + $0.lowerBound, length: $0.count)! }
    }

    func required<Value>(_ name: String, _ value: Value?) throws(HTTPError) -> Value {
        guard let value else { throw .badBody("the field \"\(name)\" is missing; the fields are \(Self.list(self.names))") }
        return value
    }

    private func present(_ name: String) -> ByteBuffer? {
        guard let raw = self.raw(name), String(buffer: raw.getSlice(at: raw.readerIndex, length: min(4, raw.readableBytes))!) != "null" else { return nil }
        return raw
    }

    private static func list(_ names: [String]) -> String { names.joined(separator: ", ") }
}
