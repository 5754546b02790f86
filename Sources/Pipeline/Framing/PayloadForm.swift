import JSON
package import NIOCore

/// What a payload is, found once per event: it decides how the envelope carries it.
package enum PayloadForm: Equatable {
    /// Valid JSON; line breaks between tokens must be replaced for line framings.
    case json(hasLineBreaks: Bool)
    /// UTF-8, but not JSON: carried as a JSON string.
    case text
    /// Not UTF-8: carried as base64.
    case binary

    package init(_ payload: ByteBuffer) {
        self = payload.withUnsafeReadableBytes { bytes in
            guard PayloadForm.isUTF8(bytes) else { return .binary }
            let json = JSONScanner.isValue(bytes)
            return json.valid ? .json(hasLineBreaks: json.hasLineBreaks) : .text
        }
    }

    package static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // ASCII, the common case, without asking the decoder.
        if !bytes.contains(where: { $0 >= 0x80 }) { return true }
        return bytes.withMemoryRebound(to: UInt8.self) { (try? UTF8Span(validating: $0.span)) != nil }
    }
}
