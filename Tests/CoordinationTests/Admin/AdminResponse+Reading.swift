import AdminAPI
import JSON

/// What tests look for in a response.
extension AdminResponse {
    var isSuccess: Bool { self.error == nil }
    var code: AdminError.Code? { self.error?.code }
    var isUnavailable: Bool { self.code?.isUnavailable ?? false }

    /// As it goes over the wire.
    var json: String {
        var writer = JSONWriter()
        self.write(to: &writer)
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}
