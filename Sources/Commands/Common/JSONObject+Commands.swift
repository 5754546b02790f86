import JSON

/// Reads JSON whose values are printed unchanged, such as payloads and responses.
extension JSONValue {
    /// Nil if the bytes are not exactly one JSON value. The value may be nested deeper than a payload, because responses contain payloads.
    init?(_ bytes: some Collection<UInt8>) {
        guard let value = try? JSONValue(Array(bytes), named: "the JSON", bytesMax: .max, depthMax: JSONScanner.depthMax + 8) else { return nil }
        self = value
    }

    /// Whether a node accepts the bytes as a JSON payload.
    static func accepts(_ payload: some Collection<UInt8>) -> Bool { (try? JSONValue(Array(payload), named: "the payload", bytesMax: .max)) != nil }

    var fields: JSONObject? { try? self.object() }
    var elements: [JSONValue]? { try? self.array(countMax: .max) }
    var string: String? { try? self.string(bytesMax: .max) }
    var integer: Int? { (try? self.integer(in: Int64.min...Int64.max)).map { Int($0) } }
    var isTrue: Bool { (try? self.boolean()) ?? false }

    /// The object with this field added or replaced. Returns a value that is not an object unchanged.
    func json(setting name: String, to json: String) -> String {
        guard var fields = self.fields else { return self.text }
        return writtenJSON { writer in
            writer.object { writer in
                for known in fields.names where known != name {
                    writer.name(known)
                    writer.raw(fields.take(known)!.text)
                }
                writer.name(name)
                writer.raw(json)
            }
        }
    }
}

extension JSONObject {
    /// Nil if the bytes are not a JSON object.
    init?(_ bytes: some Collection<UInt8>) {
        guard let fields = JSONValue(bytes)?.fields else { return nil }
        self = fields
    }

    mutating func text(_ name: String) -> String? { self.take(name)?.string }
}

/// Returns the JSON text that `body` writes.
func writtenJSON(_ body: (inout JSONWriter<[UInt8]>) -> Void) -> String {
    var writer = JSONWriter()
    body(&writer)
    return String(decoding: writer.bytes, as: UTF8.self)
}
