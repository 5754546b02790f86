import Foundation
import NIOCore

@testable import Node
@testable import Pipeline

/// A generator that repeats itself, so that a failing walk can be walked again.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { self.state = seed }

    mutating func next() -> UInt64 {
        self.state &+= 0x9E37_79B9_7F4A_7C15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func below(_ limit: Int) -> Int { Int.random(in: 0..<limit, using: &self) }

    mutating func bytes(upTo count: Int) -> [UInt8] { (0..<self.below(count + 1)).map { _ in UInt8(truncatingIfNeeded: self.next()) } }

    /// The bytes with a few of them replaced, removed, inserted.
    mutating func mutate(_ bytes: [UInt8], with tokens: [String]) -> [UInt8] {
        var bytes = bytes
        for _ in 0...self.below(4) {
            let index = self.below(bytes.count + 1)
            switch self.below(6) {
            case 0: bytes.insert(UInt8(truncatingIfNeeded: self.next()), at: index)
            case 1: bytes.insert(UInt8(self.below(95) + 32), at: index)
            case 2: if index < bytes.count { bytes.remove(at: index) }
            case 3: if index < bytes.count { bytes[index] ^= 1 << UInt8(self.below(8)) }
            case 4: bytes.removeSubrange(index..<min(bytes.count, index + self.below(9)))
            default: bytes.insert(contentsOf: Array(tokens.randomElement(using: &self)!.utf8), at: index)
            }
        }
        return bytes
    }

    /// The bytes in pieces of random lengths.
    mutating func pieces(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = 1 + self.below(self.below(4) == 0 ? 40 : 4)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        return pieces
    }
}

/// What came of reading a stream of requests.
enum Read: Equatable {
    case request(method: RequestHead.Method, path: String, query: String?, fields: [String], body: [UInt8])
    case failure(Int)
}

func read(_ pieces: [[UInt8]], headerBytesMax: Int = 1024, bodyBytesMax: Int = 200) -> [Read] {
    var parser = HTTPRequestParser(headerBytesMax: headerBytesMax, bodyBytesMax: bodyBytesMax)
    var results: [Read] = []
    for piece in pieces {
        parser.feed(ByteBuffer(bytes: piece))
        do throws(HTTPFailure) {
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

/// The code and status of what a closure throws.
func failure(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let error as HTTPFailure {
        return "\(error.status.code) \(error.code)"
    } catch {
        return "\(error)"
    }
}

extension DescriptorShares {
    /// Room for ten refusals on either port, and a few connections.
    static let forTests = try! DescriptorShares(descriptors: 160, limits: Limits(), loops: 1, isMember: false, isAPIMaxGiven: false)
}
