import NIOCore
import TestKit
import Testing

@testable import Gateway

@Suite struct HTTPConnectionTests {
    private static let request = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    private func connection(isOverLimit: Bool = false) -> HTTPConnection {
        HTTPConnection(headerBytesMax: 1024, bodyBytesMax: 1024, isOverLimit: isOverLimit)
    }

    /// A short text for the next step.
    private func next(_ connection: inout HTTPConnection, canTakeRequest: Bool = true) throws -> String {
        switch try connection.next(canTakeRequest: canTakeRequest) {
        case .request(let request): request.head.path
        case .pause: "pause"
        case .needMore(_, .request): "more, within the deadline of a request"
        case .needMore(_, .nextRequest): "more, within the idle time"
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

    @Test func theDeadlineOfARequestBeginsWithItsFirstByte() throws {
        var connection = self.connection()
        #expect(self.expiry(connection) == "close, late", "the first request never arrived")
        connection.receive(ByteBuffer(string: "GET"))
        #expect(try self.next(&connection) == "more", "its deadline was set at the accept")
        #expect(self.expiry(connection) == "refuse")
        connection.receive(ByteBuffer(string: " /a HTTP/1.1\r\nHost: h\r\n\r\n"))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "more, within the idle time")
        #expect(self.expiry(connection) == "close")
        connection.receive(ByteBuffer(string: "G"))
        #expect(try self.next(&connection) == "more, within the deadline of a request")
        connection.receive(ByteBuffer(string: "E"))
        #expect(try self.next(&connection) == "more", "another byte does not extend the deadline")
        #expect(self.expiry(connection) == "refuse")
    }

    @Test(arguments: [false, true]) func emptyLinesDoNotExtendADeadline(isOverLimit: Bool) throws {
        var connection = self.connection(isOverLimit: isOverLimit)
        connection.receive(ByteBuffer(string: "\r\n"))
        #expect(try self.next(&connection) == "more", "the deadline of the first request was set at the accept")
        #expect(self.expiry(connection) == "close, late")
        connection.receive(ByteBuffer(string: Self.request))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "more, within the idle time")
        connection.receive(ByteBuffer(string: "\r\n"))
        #expect(try self.next(&connection) == "more", "an empty line is not a request and starts no deadline")
    }

    @Test func aPausedConnectionLosesNoRequest() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + Self.request))
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection, canTakeRequest: false) == "pause" && connection.state == .paused)
        #expect(self.expiry(connection) == "extend", "this node does not read the bytes of the client")
        connection.resume()
        #expect(try self.next(&connection) == "/a" && connection.state == .reading)
    }

    @Test func inputEndsAfterTheLastCompleteRequest() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + "GET"))
        connection.inputClosed()
        #expect(try self.next(&connection) == "/a")
        #expect(try self.next(&connection) == "input ended")
    }

    @Test func afterTheEndNoRequestIsReturned() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request))
        let wasPaused = connection.end()
        #expect(!wasPaused)
        #expect(try self.next(&connection) == "nothing" && connection.isEnded)
        #expect(self.expiry(connection) == "close" && self.expiry(connection, hasPendingResponse: true) == "extend")
        var paused = self.connection()
        #expect(try self.next(&paused, canTakeRequest: false) == "pause")
        let hasToRead = paused.end()
        #expect(hasToRead, "its bytes must be read, or the kernel resets the connection")
        paused.resume()
        #expect(paused.isEnded)
    }

    @Test func aStreamGetsTheBytesAfterItsRequest() throws {
        var connection = self.connection()
        connection.receive(ByteBuffer(string: Self.request + "frames"))
        #expect(try self.next(&connection) == "/a")
        let rest = String(buffer: connection.leaveHTTP())
        #expect(rest == "frames")
        connection.receive(ByteBuffer(string: Self.request))
        #expect(try self.next(&connection) == "nothing" && connection.bufferedBytes == 0)
    }

    @Test func aBlockedSocketIsCheckedForAStallFirst() {
        var connection = self.connection()
        connection.block(at: 10, waiting: 100)
        #expect(self.expiry(connection, hasPendingResponse: true) == "check")
        let (blocked, moving) = (connection.secondsStalled(at: 14, waiting: 100), connection.secondsStalled(at: 15, waiting: 50))
        #expect(blocked == 4 && moving == 0, "the socket accepted bytes between the two checks")
        connection.unblock()
        #expect(!connection.isBlocked && self.expiry(connection, hasPendingResponse: true) == "extend")
    }

    @Test func overTheLimitAConnectionGetsOneResponseAndNoExtraTime() throws {
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

    /// Every request is returned once and in order, for any split of the bytes and any pauses.
    @Test(arguments: 0..<200) func everyRequestIsReturnedOnceAndInOrder(seed: UInt64) throws {
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
                case .inputEnded, nil: Issue.record("seed \(seed): the input has not ended")
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
