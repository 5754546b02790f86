import Testing

@testable import Load

@Suite struct MarkerScannerTests {
    static let run: UInt32 = 0xABCD_1234

    static func marker(_ number: UInt64) -> Marker {
        Marker(channel: UInt32(number % 7), lane: UInt16(number % 3), sequence: number, sentNanoseconds: number &* 0x1234_5678_9ABC)
    }

    static func payload(_ marker: Marker, run: UInt32 = Self.run, count: Int = 120) -> [UInt8] {
        var template = PayloadTemplate(run: run, count: count)
        template.set(marker)
        return template.bytes
    }

    /// Feeds bytes in pieces as the worker does: the bytes that the scanner leaves are put before the next piece.
    static func scan(_ bytes: [UInt8], stride: Int = 113, pieces: () -> Int) -> [Marker] {
        let scanner = MarkerScanner(run: self.run, stride: stride)
        var found: [Marker] = []
        var tail: [UInt8] = []
        var start = 0
        while start < bytes.count {
            let end = min(bytes.count, start + max(1, pieces()))
            let piece = tail + bytes[start..<end]
            piece.withUnsafeBufferPointer { buffer in
                var position = buffer.baseAddress!
                let limit = position + buffer.count
                while let marker = scanner.next(&position, limit) { found.append(marker) }
                tail = Array(UnsafeBufferPointer(start: position, count: limit - position))
            }
            #expect(tail.count <= MarkerScanner.straddleMax)
            start = end
        }
        return found
    }

    @Test func textRoundTrip() {
        for marker in [Self.marker(0), Self.marker(1), Marker(channel: .max, lane: .max, sequence: MarkerText.sequenceMax, sentNanoseconds: .max)] {
            var text = [UInt8](repeating: 0, count: MarkerText.length)
            text.withUnsafeMutableBufferPointer { MarkerText.write(marker, run: Self.run, to: $0.baseAddress!) }
            #expect(text.withUnsafeBufferPointer { MarkerText.read($0.baseAddress!) } == marker)
        }
    }

    @Test func payloadHasTheRequestedSize() {
        for count in [PayloadTemplate.bytesMin, 120, 5000] {
            #expect(Self.payload(Self.marker(9), count: count).count == count)
        }
    }

    @Test(arguments: ["id: 1-%\ndata: *\n\n", #"{"id":"x@y","channel":"a@b","data":*}"# + "\n", "@@@*@", "\u{81}\u{7E}*", "*"])
    func findsEveryMarkerForEverySplit(wrapping: String) {
        var generator = SystemRandomNumberGenerator()
        let expected = (1...200).map { Self.marker(UInt64($0)) }
        let parts = wrapping.split(separator: "*", omittingEmptySubsequences: false).map { Array($0.utf8) }
        let bytes: [UInt8] = expected.flatMap { parts[0] + Self.payload($0) + parts[1] }
        #expect(Self.scan(bytes) { 1 } == expected)
        #expect(Self.scan(bytes) { bytes.count } == expected)
        for _ in 0..<50 {
            #expect(Self.scan(bytes) { Int.random(in: 1...400, using: &generator) } == expected)
        }
    }

    @Test func findsMarkersInAJSONString() {
        let expected = (1...20).map { Self.marker(UInt64($0)) }
        let bytes: [UInt8] = expected.flatMap { marker in
            let escaped: [UInt8] = Self.payload(marker).flatMap { $0 == 34 ? [92, 34] : [$0] }
            return Array(#"{"data":""#.utf8) + escaped + Array("\"}\n".utf8)
        }
        #expect(Self.scan(bytes) { Int.random(in: 1...90) } == expected)
    }

    @Test func findsMarkersThatChunkHeadersSplit() {
        for _ in 0..<200 {
            let expected = (1...10).map { Self.marker(UInt64($0)) }
            let body: [UInt8] = expected.flatMap { Array("data: ".utf8) + Self.payload($0) + [10, 10] as [UInt8] }
            var chunked: [UInt8] = []
            var start = 0
            while start < body.count {
                let end = min(body.count, start + Int.random(in: 30...300))
                chunked += Array("\(String(end - start, radix: 16))\r\n".utf8) + body[start..<end] + [13, 10]
                start = end
            }
            #expect(Self.scan(chunked) { Int.random(in: 1...500) } == expected)
        }
    }

    @Test func skipsOtherRunsAndInvalidMarkers() {
        let bytes = Self.payload(Self.marker(1), run: 7) + Array("@ABCD@abcd1234.@".utf8) + Self.payload(Self.marker(2)) + Array("@abcd1234.0".utf8)
        #expect(Self.scan(bytes) { Int.random(in: 1...200) } == [Self.marker(2)])
    }
}
