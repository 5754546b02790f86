import NIOCore

/// A request line and its header fields. Fields are ranges of the received bytes: names and values are decoded only when they are used.
struct RequestHead {
    enum Method: Equatable {
        case get, head, post, put, options
        case other(String)
    }

    /// Offsets from `bytes.readerIndex`. A head is smaller than 64 KiB, so 16 bits suffice.
    struct Field {
        var nameStart: UInt16
        var nameEnd: UInt16
        var valueStart: UInt16
        var valueEnd: UInt16
    }

    var bytes: ByteBuffer
    var method: Method
    /// The path of the target, as sent.
    var path: String
    /// The part of the target after `?`, as sent.
    var query: String?
    /// True for HTTP/1.1, false for HTTP/1.0.
    var isVersion11: Bool
    var fields: [Field]

    /// The value of the first field of this name (given in lower case). Invalid UTF-8 is repaired. Nil if no field has the name.
    func field(_ name: StaticString) -> String? {
        for field in self.fields where self.matches(field, name) { return self.value(field) }
        return nil
    }

    /// The value of the first field of this name. Nil if no field has the name, or if the value is not UTF-8; ``count(_:)`` distinguishes
    /// the two cases.
    func utf8Field(_ name: StaticString) -> String? {
        guard let field = self.fields.first(where: { self.matches($0, name) }) else { return nil }
        let start = self.bytes.readerIndex + Int(field.valueStart)
        return self.bytes.viewBytes(at: start, length: Int(field.valueEnd - field.valueStart)).flatMap { String(validating: $0, as: UTF8.self) }
    }

    /// The number of fields with this name (given in lower case).
    func count(_ name: StaticString) -> Int {
        self.fields.reduce(0) { $0 + (self.matches($1, name) ? 1 : 0) }
    }

    /// The first of these names that occurs more than once.
    func firstRepeated(of names: [StaticString]) -> StaticString? {
        var seen: UInt64 = 0
        for field in self.fields {
            guard let index = names.firstIndex(where: { self.matches(field, $0) }) else { continue }
            guard seen & 1 << UInt64(index) == 0 else { return names[index] }
            seen |= 1 << UInt64(index)
        }
        return nil
    }

    /// The values of all fields of this name, joined by commas.
    func list(_ name: StaticString) -> String? {
        let values = self.fields.filter { self.matches($0, name) }.map(self.value)
        return values.isEmpty ? nil : values.joined(separator: ",")
    }

    /// Whether a comma-separated field contains this token. Case is ignored.
    func has(_ name: StaticString, token: String) -> Bool {
        guard let list = self.list(name) else { return false }
        return list.split(separator: ",").contains { $0.trimmingSpaces().asciiLowercased() == token }
    }

    /// Whether `Accept` contains exactly this media type, not only `*/*`.
    func accepts(_ type: String) -> Bool {
        guard let list = self.list("accept") else { return false }
        return list.split(separator: ",").contains { $0.prefix { $0 != ";" }.trimmingSpaces().asciiLowercased() == type }
    }

    var keepsAlive: Bool {
        self.isVersion11 ? !self.has("connection", token: "close") : self.has("connection", token: "keep-alive")
    }

    private func value(_ field: Field) -> String {
        let start = self.bytes.readerIndex + Int(field.valueStart)
        return self.bytes.getString(at: start, length: Int(field.valueEnd - field.valueStart)) ?? ""
    }

    private func matches(_ field: Field, _ name: StaticString) -> Bool {
        let length = Int(field.nameEnd - field.nameStart)
        guard length == name.utf8CodeUnitCount else { return false }
        return self.bytes.withUnsafeReadableBytes { bytes in
            for index in 0..<length {
                let byte = bytes[Int(field.nameStart) + index]
                let lower = (0x41...0x5A).contains(byte) ? byte | 0x20 : byte
                if lower != name.utf8Start[index] { return false }
            }
            return true
        }
    }
}

/// A complete request.
struct Request {
    var head: RequestHead
    var body: ByteBuffer
}

extension StringProtocol {
    func trimmingSpaces() -> SubSequence {
        var result = self[...]
        while let first = result.first, first == " " || first == "\t" { result.removeFirst() }
        while let last = result.last, last == " " || last == "\t" { result.removeLast() }
        return result
    }

    /// Converts only the letters A to Z to lower case. `lowercased()` would also convert the Kelvin sign to `k`. A proxy in front of this node would not, and
    /// could therefore read the header differently.
    func asciiLowercased() -> String {
        String(decoding: self.utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}

/// Percent-decoding (RFC 3986 §2.1).
enum PercentEncoding {
    /// Nil if an escape is incomplete or not hexadecimal, or if the bytes are not UTF-8.
    static func decode(_ text: some StringProtocol) -> String? {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var iterator = text.utf8.makeIterator()
        while let byte = iterator.next() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = iterator.next().flatMap(Self.hex), let low = iterator.next().flatMap(Self.hex) else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    static func hex(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x41 + 10
        case 0x61...0x66: byte - 0x61 + 10
        default: nil
        }
    }

    /// The decoded value of a name in a query string. Nil if the name is absent. Throws if the name occurs twice, or if its value has an invalid escape.
    static func value(_ name: String, in query: String?) throws(HTTPError) -> String? {
        guard let query else { return nil }
        var found: Substring?
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard decode(parts[0]) == name else { continue }
            guard found == nil else { throw .badRequest("the query parameter \"\(name)\" occurs more than once; send it once") }
            found = parts.count == 2 ? parts[1] : ""
        }
        guard let found else { return nil }
        guard let value = decode(found) else { throw .badRequest("the query parameter \"\(name)\" has an invalid percent-encoding") }
        return value
    }
}
