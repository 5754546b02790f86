import NIOCore
import Pipeline

/// The rules for the coding of a request's body, and the parser's failures. Pure.
extension HTTPRequestParser {
    /// Accepts only `chunked`, exactly once. A repeated or misplaced `chunked` may be an attempt at request smuggling. Other codings are not supported.
    static func checkCoding(_ coding: String) throws(HTTPError) {
        if coding == "chunked" { return }
        let codings = coding.split(separator: ",", omittingEmptySubsequences: false).map { String($0.trimmingSpaces()) }
        guard !codings.contains(""), !codings.contains("chunked") || (codings.last == "chunked" && codings.count(where: { $0 == "chunked" }) == 1) else {
            throw .badRequest("chunked must be the last transfer coding and occur once")
        }
        throw HTTPError(.notImplemented, "not_implemented", "only the transfer coding chunked is supported")
    }

    static func chunkSize(_ line: ByteBuffer) throws(HTTPError) -> Int {
        var size = 0
        var digits = 0
        for byte in line.readableBytesView {
            guard let digit = PercentEncoding.hex(byte) else {
                guard byte == UInt8(ascii: ";"), digits > 0 else { throw .badRequest("the size of a chunk is not a hexadecimal number") }
                break
            }
            digits += 1
            guard digits <= 8 else { throw .badRequest("the size of a chunk has too many digits") }
            size = size << 4 | Int(digit)
        }
        guard digits > 0 else { throw .badRequest("a chunk has no size") }
        guard line.readableBytesView.allSatisfy({ $0 >= 0x20 || $0 == 0x09 }) else { throw .badRequest("the size line of a chunk has a control byte") }
        return size
    }

    // MARK: - Failures

    static let uriTooLong = HTTPError(
        .uriTooLong, "uri_too_long", "the request line is longer than \(FixedLimits.requestLineBytesMax) bytes; name fewer channels in one request")

    static func headersTooLarge(_ max: Int) -> HTTPError {
        HTTPError(.headersTooLarge, "headers_too_large", "the headers are larger than \(max) bytes (header-bytes-max)")
    }

    static func bodyTooLarge(_ max: Int) -> HTTPError {
        .tooLarge("the body is larger than \(max) bytes")
    }
}
