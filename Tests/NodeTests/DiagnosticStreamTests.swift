import Foundation
import Testing

@testable import Node

/// The behaviour while no reader reads the log.
@Suite struct DiagnosticStreamTests {
    // MARK: - The backlog

    @Test func linesAreWrittenInOrder() {
        var backlog = LineBacklog(bytesMax: 100)
        #expect(backlog.take() == nil)
        backlog.append("a\n")
        backlog.append("b\n")
        #expect(backlog.take().map { ($0.missing, String(decoding: $0.bytes, as: UTF8.self)) } ?? (9, "") == (0, "a\nb\n"))
        #expect(backlog.take() == nil)
        #expect(backlog.dropped == 0)
    }

    @Test func droppedLinesAreConsecutiveAndReportedOnce() {
        var backlog = LineBacklog(bytesMax: 10)
        backlog.append("12345678\n")
        backlog.append("too long\n")
        // This line would fit, but it must not appear before the notice about the dropped lines.
        backlog.append("\n")
        #expect(backlog.dropped == 2)
        #expect(backlog.take().map { ($0.missing, $0.bytes.count) } ?? (9, 9) == (0, 9))
        backlog.append("next\n")
        #expect(backlog.take().map { ($0.missing, $0.bytes.count) } ?? (9, 9) == (2, 5))
        #expect(backlog.take() == nil)
    }

    @Test func missingLinesAreReportedWithoutALaterLine() {
        var backlog = LineBacklog(bytesMax: 2)
        backlog.append("a\n")
        backlog.append("b\n")
        _ = backlog.take()
        #expect(backlog.take().map { ($0.missing, $0.bytes.count) } ?? (9, 9) == (1, 0))
        #expect(backlog.take() == nil)
    }

    @Test func linesThatCannotBeWrittenAreReportedLater() {
        var backlog = LineBacklog(bytesMax: 100)
        backlog.append("a\nb\n")
        let taken = backlog.take()
        #expect(taken?.missing == 0)
        backlog.failed(unreported: 0, lost: 2)
        #expect(backlog.dropped == 2)
        backlog.append("c\n")
        #expect(backlog.take()?.missing == 2)
        // The notice was not written either.
        backlog.failed(unreported: 2, lost: 1)
        #expect(backlog.dropped == 3)
        backlog.append("d\n")
        #expect(backlog.take()?.missing == 3)
    }

    // MARK: - The stream

    /// Waits for data in the pipe, and returns it.
    private func read(_ pipe: Pipe) throws -> String {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = Foundation.read(pipe.fileHandleForReading.fileDescriptor, &bytes, bytes.count)
        try #require(count > 0)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    @Test func aFullPipeBlocksNoWriterAndNoFlush() async throws {
        let pipe = Pipe()
        defer { withExtendedLifetime(pipe) {} }
        let stream = DiagnosticStream(descriptor: pipe.fileHandleForWriting.fileDescriptor, bytesMax: 100_000)
        let line = String(repeating: "x", count: 999) + "\n"
        // Much more than the pipe and the backlog can hold. If a write blocked, the test would never end.
        for _ in 0..<1000 { stream.write(line) }
        #expect(stream.dropped > 500)
        stream.flush(within: .milliseconds(50))
        // The pipe is read again. The kept lines arrive first, and then the notice with the number of missing lines.
        var text = ""
        var written = 0
        var missing = 0
        while written + missing < 1000 || !text.hasSuffix("\n") {
            text += try self.read(pipe)
            let lines = text.split(separator: "\n")
            written = lines.count { $0 == line.dropLast() }
            missing = lines.compactMap { $0.firstMatch(of: /lines=(\d+) .* are missing here/).flatMap { Int($0.1) } }.reduce(0, +)
        }
        #expect(written + missing == 1000 && missing == stream.dropped)
        stream.write("after\n")
        stream.flush(within: .seconds(60))
        #expect(try self.read(pipe).hasSuffix("after\n"))
    }

    @Test func theStreamSurvivesAClosedReader() async throws {
        let pipe = Pipe()
        defer { withExtendedLifetime(pipe) {} }
        try pipe.fileHandleForReading.close()
        let stream = DiagnosticStream(descriptor: pipe.fileHandleForWriting.fileDescriptor)
        for count in 1...3 {
            stream.write("line\n")
            stream.flush(within: .seconds(60))
            #expect(stream.dropped == UInt64(count))
        }
    }

    @Test func aWriteWaitsForANonBlockingDescriptor() async throws {
        let pipe = Pipe()
        defer { withExtendedLifetime(pipe) {} }
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        #expect(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
        let stream = DiagnosticStream(descriptor: descriptor)
        let line = String(repeating: "x", count: 999) + "\n"
        for _ in 0..<200 { stream.write(line) }
        var bytes = 0
        while bytes < 200_000 { bytes += try self.read(pipe).utf8.count }
        #expect(bytes == 200_000 && stream.dropped == 0)
    }
}
