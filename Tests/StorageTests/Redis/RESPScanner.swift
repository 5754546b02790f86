import NIOCore

/// Finds the ends of values in a stream of Redis' protocol, version 2, without reading them: requests in one direction, replies in the other.
struct RESPScanner {
    struct Value: Hashable {
        /// The number of bytes of the scanned buffer up to the end of the value.
        var end: Int
        /// The first string of an array, in capitals: the command, if the value is a request.
        var name: String
    }

    private enum Reading {
        /// The line that begins a value.
        case line
        /// The rest of a string, with its line end.
        case string(remaining: Int)
    }

    private var reading = Reading.line
    private var line: [UInt8] = []
    /// How many values each open array still needs, the outermost first.
    private var open: [Int] = []
    private var name: [UInt8] = []
    private var isNaming = false

    /// True if the last value has not ended.
    var isInside: Bool {
        if case .string = self.reading { return true }
        return !self.line.isEmpty || !self.open.isEmpty
    }

    /// The values that end in these bytes.
    mutating func scan(_ buffer: ByteBuffer) -> [Value] {
        var values: [Value] = []
        buffer.withUnsafeReadableBytes { bytes in
            var index = 0
            while index < bytes.count {
                guard self.consume(bytes, &index) else { continue }
                values.append(Value(end: index, name: String(decoding: self.name, as: UTF8.self).uppercased()))
                self.name = []
                self.isNaming = false
            }
        }
        return values
    }

    /// Consumes one byte of a line, or what there is of a string. Returns true if an outermost value ends with it.
    private mutating func consume(_ bytes: UnsafeRawBufferPointer, _ index: inout Int) -> Bool {
        switch self.reading {
        case .string(let remaining):
            let count = min(remaining, bytes.count - index)
            // The last two bytes are the line end.
            if self.isNaming { self.name += bytes[index..<index + min(count, max(0, remaining - 2))] }
            index += count
            self.reading = .string(remaining: remaining - count)
            guard count == remaining else { return false }
            self.reading = .line
            self.isNaming = false
            return self.endsOutermost()
        case .line:
            let byte = bytes[index]
            index += 1
            guard byte == UInt8(ascii: "\n") else {
                // Only the lines of errors are longer.
                if self.line.count < 32 { self.line.append(byte) }
                return false
            }
            defer { self.line.removeAll(keepingCapacity: true) }
            return self.consumeLine()
        }
    }

    private mutating func consumeLine() -> Bool {
        let count = Int(String(decoding: self.line.dropFirst().dropLast(), as: UTF8.self)) ?? -1
        switch self.line.first {
        case UInt8(ascii: "$") where count >= 0:
            self.reading = .string(remaining: count + 2)
            return false
        case UInt8(ascii: "*") where count > 0:
            self.isNaming = self.open.isEmpty
            self.open.append(count)
            return false
        default:
            return self.endsOutermost()
        }
    }

    private mutating func endsOutermost() -> Bool {
        while let last = self.open.last {
            self.open[self.open.count - 1] = last - 1
            guard last == 1 else { return false }
            self.open.removeLast()
        }
        return true
    }
}
