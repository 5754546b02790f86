import AdminAPI
import JSON

/// Accessors for tests.
extension AdminResponse {
    var isSuccess: Bool { self.error == nil }
    var code: AdminError.Code? { self.error?.code }
    var isUnavailable: Bool { self.code?.isUnavailable ?? false }

    /// The JSON of the response, as a client receives it.
    var json: String {
        var writer = JSONWriter()
        self.write(to: &writer)
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}
