/// Splits a stream of bytes into lines. A line ends with LF or CRLF. The last line may have no line end.
struct LineSplitter: Sendable {
    struct Line: Equatable, Sendable {
        /// The number of the line. The first line is 1.
        var number: Int
        var bytes: [UInt8]
        /// Whether the line was too long. Then `bytes` is empty.
        var isTooLong = false
    }

    private let lineBytesMax: Int
    private var number = 0
    private var rest: [UInt8] = []
    private var isTooLong = false

    init(lineBytesMax: Int) {
        self.lineBytesMax = lineBytesMax
    }

    mutating func feed(_ bytes: some Collection<UInt8>) -> [Line] {
        var lines: [Line] = []
        var chunk = bytes[...]
        while let end = chunk.firstIndex(of: UInt8(ascii: "\n")) {
            self.keep(chunk[..<end])
            lines.append(self.take())
            chunk = chunk[chunk.index(after: end)...]
        }
        self.keep(chunk)
        return lines
    }

    /// The bytes after the last line end.
    mutating func finish() -> Line? {
        self.rest.isEmpty && !self.isTooLong ? nil : self.take()
    }

    private mutating func keep(_ bytes: some Collection<UInt8>) {
        guard !self.isTooLong else { return }
        // One byte more than the limit, because the last byte may be the CR of the line end.
        guard self.rest.count + bytes.count <= self.lineBytesMax + 1 else {
            self.isTooLong = true
            self.rest = []
            return
        }
        self.rest += bytes
    }

    private mutating func take() -> Line {
        self.number += 1
        if self.rest.last == UInt8(ascii: "\r") { self.rest.removeLast() }
        if self.rest.count > self.lineBytesMax {
            self.isTooLong = true
            self.rest = []
        }
        defer {
            self.rest = []
            self.isTooLong = false
        }
        return Line(number: self.number, bytes: self.rest, isTooLong: self.isTooLong)
    }
}
