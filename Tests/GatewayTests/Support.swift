import Foundation
import NIOCore

@testable import Gateway
@testable import Pipeline

/// The result of reading one request.
enum Read: Equatable {
    case request(method: RequestHead.Method, path: String, query: String?, fields: [String], body: [UInt8])
    case failure(Int)
}

func read(_ pieces: [[UInt8]], headerBytesMax: Int = 1024, bodyBytesMax: Int = 200) -> [Read] {
    var parser = HTTPRequestParser(headerBytesMax: headerBytesMax, bodyBytesMax: bodyBytesMax)
    var results: [Read] = []
    for piece in pieces {
        parser.feed(ByteBuffer(bytes: piece))
        do throws(HTTPError) {
            while case .request(let request) = try parser.next() {
                let head = request.head
                let fields = head.fields.map { field -> String in
                    let bytes = Array(head.bytes.readableBytesView)
                    return String(decoding: bytes[Int(field.nameStart)..<Int(field.valueEnd)], as: UTF8.self)
                }
                results.append(.request(method: head.method, path: head.path, query: head.query, fields: fields, body: Array(request.body.readableBytesView)))
            }
        } catch {
            results.append(.failure(error.status.code))
            return results
        }
    }
    return results
}

func read(_ text: String) -> [Read] { read([Array(text.utf8)]) }

/// The head of a request, from its text.
func head(_ target: String, _ fields: [String] = [], method: String = "GET", version: String = "1.1") throws -> RequestHead {
    let text = "\(method) \(target) HTTP/\(version)\r\nHost: h:1\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    return try HeadParser.parse(ByteBuffer(string: text))
}

/// The status and the code of the failure that a closure throws.
func failure(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let error as HTTPError {
        return "\(error.status.code) \(error.code)"
    } catch {
        return "\(error)"
    }
}
