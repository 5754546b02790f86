import Glibc

/// Finds the markers of one run in the output of a server. It works for every transport.
///
/// The scanner needs no parser and no copy. It searches for the `@` with `memchr`, which is fast, and then skips the padding.
/// Events of other runs do not match and are skipped.
struct MarkerScanner: Sendable {
    /// The maximum length of a marker that contains chunk headers.
    static let straddleMax = 128

    private let opening: UInt64
    private let openingEnd: UInt16
    private let needle: [UInt8]
    private let stride: Int

    init(run: UInt32, stride: Int) {
        var text = [UInt8](repeating: 0, count: MarkerText.length)
        text.withUnsafeMutableBufferPointer {
            MarkerText.write(Marker(channel: 0, lane: 0, sequence: 0, sentNanoseconds: 0), run: run, to: $0.baseAddress!)
        }
        self.needle = Array(text[0..<MarkerText.channelOffset])
        self.opening = text.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
        self.openingEnd = text.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 8, as: UInt16.self) }
        self.stride = max(MarkerText.length, stride)
    }

    /// The next marker, or nil at the end. After nil, the caller must put the bytes from `position` (at most ``straddleMax``) before the next bytes.
    @inline(__always)
    func next(_ position: inout UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Marker? {
        while position < end {
            guard let found = memchr(position, Int32(MarkerText.sign), end - position) else { break }
            let sign = UnsafePointer(found.assumingMemoryBound(to: UInt8.self))
            if end - sign >= MarkerText.length, self.matches(sign) {
                let after = sign + self.stride
                position = after < end ? after : end
                return MarkerText.read(sign)
            }
            switch self.assemble(sign, end) {
            case .marker(let marker, let after):
                position = after
                return marker
            case .incomplete:
                position = sign
                return nil
            case .other:
                position = sign + 1
            }
        }
        position = end
        return nil
    }

    @inline(__always)
    private func matches(_ sign: UnsafePointer<UInt8>) -> Bool {
        let raw = UnsafeRawPointer(sign)
        return raw.loadUnaligned(as: UInt64.self) == self.opening
            && raw.loadUnaligned(fromByteOffset: 8, as: UInt16.self) == self.openingEnd
            && sign[18] == MarkerText.dot && sign[35] == MarkerText.dot && sign[52] == MarkerText.dot
    }

    // MARK: The slow path

    private enum Assembly {
        case marker(Marker, after: UnsafePointer<UInt8>)
        case incomplete
        case other
    }

    /// Reads a marker byte by byte, and skips chunk headers (`\r\n1f\r\n`) inside the marker.
    @inline(never)
    private func assemble(_ sign: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> Assembly {
        let incomplete: Assembly = end - sign < Self.straddleMax ? .incomplete : .other
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: MarkerText.length) { text in
            var count = 0
            var position = sign
            while count < MarkerText.length {
                guard position < end else { return incomplete }
                if position.pointee == UInt8(ascii: "\r") {
                    switch Self.afterChunkHeader(position, end) {
                    case .some(let after?): position = after
                    case .some(.none): return incomplete
                    case .none: return .other
                    }
                    continue
                }
                let byte = position.pointee
                guard self.fits(byte, at: count) else { return .other }
                text[count] = byte
                count += 1
                position += 1
            }
            return .marker(MarkerText.read(UnsafePointer(text.baseAddress!)), after: position)
        }
    }

    private func fits(_ byte: UInt8, at index: Int) -> Bool {
        if index < self.needle.count { return byte == self.needle[index] }
        if index == 18 || index == 35 || index == 52 { return byte == MarkerText.dot }
        return Self.isHex(byte)
    }

    /// Returns `nil` if the bytes are not a chunk header, and `.some(nil)` if the chunk header is incomplete.
    private static func afterChunkHeader(_ start: UnsafePointer<UInt8>, _ end: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>?? {
        var position = start + 1
        guard position < end else { return .some(nil) }
        guard position.pointee == UInt8(ascii: "\n") else { return nil }
        position += 1
        var digits = 0
        while position < end, self.isHex(position.pointee), digits < 16 {
            digits += 1
            position += 1
        }
        guard position < end else { return .some(nil) }
        guard digits > 0, position.pointee == UInt8(ascii: "\r") else { return nil }
        guard position + 1 < end else { return .some(nil) }
        return position[1] == UInt8(ascii: "\n") ? .some(position + 2) : nil
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...102).contains(byte) || (65...70).contains(byte)
    }
}
