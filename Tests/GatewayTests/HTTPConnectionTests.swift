import NIOCore
import TestKit
import Testing

@testable import Gateway

@Suite struct HTTPConnectionTests {
    private static let request = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    private func connection(isOverLimit: Bool = false) -> HTTPConnection {
        HTTPConnection(headerBytesMax: 1024, bodyBytesMax: 1024, isOverLimit: isOverLimit)
    }

    /// What one step decides, in a word.
    private func next(_ connection: inout HTTPConnection, canTakeRequest: Bool = true) throws -> String {
        switch try connection.next(canTakeRequest: canTakeRequest) {
        case .request(let request): request.head.path
        case .pause: "pause"
        case .needMore(_, .request): "more within a request's time"
        case .needMore(_, .nextRequest): "more, whenever it comes"
        case .needMore(_, nil): "more"
        case .inputEnded: "input ended"
        case nil: "nothing"
        }
    }

    private func expiry(_ connection: HTTPConnection, hasPendingResponse: Bool = false) -> String {
        switch connection.expired(hasPendingResponse: hasPendingResponse) {
        case .checkStall: "check"
        case .extend: "extend"
        case .refuse: "refuse"
        case .close(let isLate): isLate ? "close, late" : "close"
        }
    }

    @Test func aRequestHasItsTimeFromItsFirstByte() throws {
        var connection = self.connection()
        #expect(self.expiry(connection) == "close, late", "the first request never came")
        connection.receive(ByteBuffer(string: "GET"))
        #expect(try self.next(&connection) == "more", "its time runs since the accept")
        #expect(self.expiry(connection) == "refuse")
        connection.receive(ByteBuffer(string: " /a HTTP/1.1\r\nHost: h\r\n\r\n"))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "more, whenever it comes")
        #expect(self.expiry(connection) == "close")
        connection.receive(ByteBuffer(string: "G"))
        #expect(try self.next(&connection) == "more within a request's time")
        connection.receive(ByteBuffer(string: "E"))
        #expect(try self.next(&connection) == "more", "another byte buys no time")
        #expect(self.expiry(connection) == "refuse")
    }

    @Test(arguments: [false, true]) func emptyLinesBuyNoTime(isOverLimit: Bool) throws {
        var connection = self.connection(isOverLimit: isOverLimit)
        connection.receive(ByteBuffer(string: "\r\n"))
        #expect(try self.next(&connection) == "more", "the time of the first request runs since the accept")
        #expect(self.expiry(connection) == "close, late")
        connection.receive(ByteBuffer(string: Self.request))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "more, whenever it comes")
        connection.receive(ByteBuffer(string: "\r\n"))
        #expect(try self.next(&connection) == "more", "an empty line is not a request that could be followed by another")
    }

    @Test func withoutRoomItIsNotReadAndNothingIsLost() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + Self.request))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection, canTakeRequest: false) == "pause" && connection.state == .paused)
        #expect(self.expiry(connection) == "extend", "this node does not read what the client has sent")
        connection.resume()
        #expect(try self.next(&connection) == "/a" && connection.state == .reading)
    }

    @Test func aClosedSideIsTheEndOnceAllIsTaken() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + "GET"))
        connection.inputClosed()
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "input ended")
    }

    @Test func afterTheEndNothingIsTaken() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request))
        let wasPaused = connection.end()
        #expect(!wasPaused)
        #expect(try self.next(&connection) == "nothing" && connection.isEnded)
        #expect(self.expiry(connection) == "close" && self.expiry(connection, hasPendingResponse: true) == "extend")
        var paused = self.connection()
        #expect(try self.next(&paused, canTakeRequest: false) == "pause")
        let hasToRead = paused.end()
        #expect(hasToRead, "its bytes have to be read, or the kernel resets the connection")
        paused.resume()
        #expect(paused.isEnded)
    }

    @Test func aStreamKeepsWhatCameBehindItsRequest() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + "frames"))
        #expect(try self.next(&connection) == "/a")
        let rest = String(buffer: connection.leaveHTTP())
        #expect(rest == "frames")
        connection.receive(ByteBuffer(string: Self.request))
        #expect(try self.next(&connection) == "nothing" && connection.bufferedBytes == 0)
    }

    @Test func aBlockedSocketIsLookedAtFirst() {
        var connection = self.connection()
        connection.block(at: 10, waiting: 100)
        #expect(self.expiry(connection, hasPendingResponse: true) == "check")
        let (blocked, moving) = (connection.secondsStalled(at: 14, waiting: 100), connection.secondsStalled(at: 15, waiting: 50))
        #expect(blocked == 4 && moving == 0, "between the two looks it took some")
        connection.unblock()
        #expect(!connection.isBlocked && self.expiry(connection, hasPendingResponse: true) == "extend")
    }

    @Test func overTheLimitThereIsOneResponseAndNoTime() throws {
        var connection = self.connection(isOverLimit: true)
        connection.receive(ByteBuffer(string: "GET"))
        #expect(self.expiry(connection) == "close, late")
        connection.receive(ByteBuffer(string: " /a HTTP/1.1\r\nHost: h\r\n\r\n"))
        guard case .request(let request) = try connection.next(canTakeRequest: true) else {
            Issue.record("no request")
            return
        }
        #expect(!connection.keepsAlive(after: request.head) && self.connection().keepsAlive(after: request.head))
    }

    /// However the bytes come and the room changes, every request is taken once, in order.
    @Test(arguments: 0..<200) func walk(seed: UInt64) throws {
        var generator = SplitMix(seed: seed)
        let count = 1 + generator.below(20)
        var pieces = generator.pieces(Array((0..<count).map { "GET /\($0) HTTP/1.1\r\nHost: h\r\n\r\n" }.joined().utf8))[...]
        var connection = self.connection()
        var taken: [String] = []
        while taken.count < count {
            let before = connection.state
            switch generator.below(3) {
            case 0: if let piece = pieces.popFirst() { connection.receive(ByteBuffer(bytes: piece)) }
            case 1: connection.resume()
            default:
                let canTakeRequest = generator.below(4) > 0
                switch try connection.next(canTakeRequest: canTakeRequest) {
                case .request(let request): taken.append(request.head.path)
                case .pause: #expect(!canTakeRequest && connection.state == .paused)
                case .needMore: #expect(canTakeRequest)
                case .inputEnded, nil: Issue.record("seed \(seed): it has not ended")
                }
            }
            switch (before, connection.state) {
            case (.reading, .reading), (.reading, .paused), (.paused, .reading), (.paused, .paused): break
            default: Issue.record("seed \(seed): \(before) to \(connection.state)")
            }
        }
        #expect(taken == (0..<count).map { "/\($0)" }, "seed \(seed)")
    }
}
