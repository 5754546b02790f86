import JSON
package import NIOCore

/// The form of a payload, determined once for each event. It decides how the envelope contains the payload.
package enum PayloadForm: Equatable {
    /// Valid JSON; line breaks between tokens must be replaced for line framings.
    case json(hasLineBreaks: Bool)
    /// UTF-8, but not JSON: sent as a JSON string.
    case text
    /// Not UTF-8: sent as base64.
    case binary

    package init(_ payload: ByteBuffer) {
        self = payload.withUnsafeReadableBytes { bytes in
            guard PayloadForm.isUTF8(bytes) else { return .binary }
            let json = JSONScanner.isValue(bytes)
            return json.valid ? .json(hasLineBreaks: json.hasLineBreaks) : .text
        }
    }

    /// The name of the envelope's field.
    package var fieldName: String {
        switch self {
        case .json, .text: "data"
        case .binary: "data_base64"
        }
    }

    package static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        // ASCII, the common case, needs no UTF-8 validation.
        if !bytes.contains(where: { $0 >= 0x80 }) { return true }
        return bytes.withMemoryRebound(to: UInt8.self) { (try? UTF8Span(validating: $0.span)) != nil }
    }
}
