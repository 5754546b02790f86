import AsyncHTTPClient
import NIOHTTP1

/// A request to a node, for the HTTP client and for connections that this module opens itself.
struct Request: Sendable {
    var method = HTTPMethod.GET
    /// The path and the query. They are appended to the path of the base URL.
    var path: String
    var headers: [(name: String, value: String)] = []
    var body: [UInt8]?
    var token: String?

    /// The request for the HTTP client.
    func clientRequest(to base: BaseURL) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: base.description + self.path)
        request.method = self.method
        request.headers = self.allHeaders
        if let body { request.body = .bytes(body) }
        return request
    }

    /// The head for a connection to the host of `base`.
    func head(to base: BaseURL) -> HTTPRequestHead {
        var headers: HTTPHeaders = ["Host": base.authority]
        headers.add(contentsOf: self.allHeaders)
        if let body { headers.add(name: "Content-Length", value: String(body.count)) }
        return HTTPRequestHead(version: .http1_1, method: self.method, uri: base.path + self.path, headers: headers)
    }

    private var allHeaders: HTTPHeaders {
        var headers = HTTPHeaders()
        for (name, value) in self.headers { headers.add(name: name, value: value) }
        if let token { headers.add(name: "Authorization", value: "Bearer \(token)") }
        return headers
    }
}

/// Escapes a text, so that it is one segment of a path.
func escapedSegment(_ text: String) -> String {
    text.utf8.map { byte in
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "-"):
            String(UnicodeScalar(byte))
        default:
            "%" + String(byte >> 4, radix: 16, uppercase: true) + String(byte & 15, radix: 16, uppercase: true)
        }
    }.joined()
}
