package import NIOCore

/// A command with its arguments, encoded as a RESP2 array of bulk strings.
///
/// Not made by hiredis' formatter: that needs pointers to all arguments together, and its result would have to be copied once more.
package struct RedisRequest: Sendable {
    package private(set) var bytes: ByteBuffer
    /// Arguments that were announced and not appended yet.
    private var missingArguments: Int

    /// Begins a request. The caller appends exactly this many arguments.
    package init(_ command: StaticString, argumentCount: Int, capacity: Int = 256, allocator: ByteBufferAllocator = ByteBufferAllocator()) {
        self.bytes = allocator.buffer(capacity: capacity)
        self.missingArguments = argumentCount
        self.writeHead(argumentCount: argumentCount)
        command.withUTF8Buffer { command in
            self.writeLength(command.count)
            self.bytes.writeBytes(command)
            self.bytes.writeStaticString("\r\n")
        }
    }

    /// A whole request.
    package init(_ command: String, _ arguments: String...) {
        self.bytes = ByteBufferAllocator().buffer(capacity: 64)
        self.missingArguments = arguments.count + 1
        self.writeHead(argumentCount: arguments.count)
        self.append(command)
        for argument in arguments { self.append(argument) }
    }

    var isComplete: Bool { self.missingArguments == 0 }

    package mutating func append(_ argument: String) {
        self.willAppend()
        self.writeLength(argument.utf8.count)
        self.bytes.writeString(argument)
        self.bytes.writeStaticString("\r\n")
    }

    package mutating func append(_ argument: ByteBuffer) {
        self.willAppend()
        self.writeLength(argument.readableBytes)
        self.bytes.writeImmutableBuffer(argument)
        self.bytes.writeStaticString("\r\n")
    }

    package mutating func append(_ argument: Int) { self.append(Int64(argument)) }

    package mutating func append(_ argument: Int64) { self.appendDecimal(argument.magnitude, isNegative: argument < 0) }

    package mutating func append(_ argument: UInt64) { self.appendDecimal(argument, isNegative: false) }

    // MARK: - Encoding

    private mutating func willAppend() {
        precondition(self.missingArguments > 0, "A request has more arguments than it announced")
        self.missingArguments -= 1
    }

    private mutating func writeHead(argumentCount: Int) {
        self.bytes.writeStaticString("*")
        self.bytes.writeDecimal(UInt64(argumentCount + 1))
        self.bytes.writeStaticString("\r\n")
    }

    private mutating func writeLength(_ count: Int) {
        self.bytes.writeStaticString("$")
        self.bytes.writeDecimal(UInt64(count))
        self.bytes.writeStaticString("\r\n")
    }

    private mutating func appendDecimal(_ magnitude: UInt64, isNegative: Bool) {
        self.willAppend()
        self.writeLength(ByteBuffer.decimalDigits(magnitude) + (isNegative ? 1 : 0))
        if isNegative { self.bytes.writeStaticString("-") }
        self.bytes.writeDecimal(magnitude)
        self.bytes.writeStaticString("\r\n")
    }
}

extension ByteBuffer {
    fileprivate static func decimalDigits(_ value: UInt64) -> Int {
        var (digits, rest) = (1, value / 10)
        while rest > 0 { (digits, rest) = (digits + 1, rest / 10) }
        return digits
    }

    /// Without a String.
    fileprivate mutating func writeDecimal(_ value: UInt64) {
        let digits = Self.decimalDigits(value)
        self.writeWithUnsafeMutableBytes(minimumWritableBytes: digits) { space in
            var rest = value
            for index in stride(from: digits - 1, through: 0, by: -1) {
                space[index] = UInt8(ascii: "0") + UInt8(rest % 10)
                rest /= 10
            }
            return digits
        }
    }
}

/// Why a request has no reply.
package enum RedisRequestError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The request was not written to the socket, or Redis said that it did not execute it: nothing happened. With a sentence for people.
    case notSent(String)
    /// The request may have been executed: the connection ended, or the deadline passed, after it was written.
    case noReply(String)

    package var description: String {
        switch self {
        case .notSent(let sentence), .noReply(let sentence): sentence
        }
    }
}
