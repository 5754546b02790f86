import Foundation
import NIOCore
import Pipeline
import PipelineTestKit
import Storage
import TestKit
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Kills processes while they append. The log must then have all acknowledged events.
@Suite struct KillTests {
    @Test func aKilledProcessLosesNoAcknowledgedEvent() async throws {
        try await withTemporaryFolder { folder in
            for _ in 0..<8 {
                await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                    try await Appender(folder: folder).appendUntilKilled()
                }
                try await self.verify(folder)
            }
        }
    }

    private func verify(_ folder: String) async throws {
        let acknowledged = try Appender.acknowledged(folder)
        let log = try SQLiteLog(folder: folder, limits: Appender.limits)
        let heads = try await log.sealed(oneGrant).headsByName
        let stored = heads["count"]?.offset ?? 0
        // The last batch may be committed although its acknowledgement was not written. All other events of the log are acknowledged.
        #expect(stored == acknowledged || stored == acknowledged + 1)
        #expect(heads == Appender.heads(after: stored))
        for (name, head) in heads {
            let slice = try await log.read(channel(name), after: position(0, 0), limit: .max, bytesMax: .max)
            guard let oldest = slice.oldest else { continue }
            #expect(slice.offsets == Array(oldest.offset...head.offset))
            #expect(slice.events.allSatisfy { String(buffer: $0.event.payload).hasPrefix("\(name) \($0.position) ") })
        }
        await log.close()
    }
}

/// Appends batches. The number of a batch determines its content.
private struct Appender {
    /// The history is so small that rows are deleted all the time.
    static var limits: Limits {
        var limits = Limits()
        limits.historyBytesMax = 300_000
        return limits
    }

    let folder: String

    func appendUntilKilled() async throws {
        var random = SystemRandomNumberGenerator()
        let delay = UInt32.random(in: 20_000...400_000, using: &random)
        let log = try SQLiteLog(folder: self.folder, limits: Appender.limits)
        let heads = try await log.sealed(oneGrant).headsByName
        var number = heads["count"]?.offset ?? 0
        var model = Appender.heads(after: number)
        let acknowledgements = open(self.folder + "/acknowledged", O_WRONLY | O_CREAT, 0o600)
        precondition(acknowledgements >= 0)
        // After a restart, the acknowledgements continue from the stored events.
        pwrite(acknowledgements, &number, 8, 0)
        Thread.detachNewThread {
            usleep(delay)
            kill(getpid(), SIGKILL)
        }
        while true {
            number += 1
            try await log.append(Appender.batch(number, after: &model))
            pwrite(acknowledgements, &number, 8, 0)
            if number % 40 == 0 { try await log.trim(now: WallClock.now()) }
        }
    }

    static func acknowledged(_ folder: String) throws -> UInt64 {
        let data = FileManager.default.contents(atPath: folder + "/acknowledged") ?? Data()
        return data.count < 8 ? 0 : data.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) }
    }

    static func heads(after number: UInt64) -> [String: Position] {
        var model: [String: Position] = [:]
        guard number > 0 else { return model }
        for number in 1...number { _ = self.batch(number, after: &model) }
        return model
    }

    private static func batch(_ number: UInt64, after model: inout [String: Position]) -> [SequencedEvent] {
        var random = SplitMix(seed: number)
        let names = ["count"] + (0..<Int.random(in: 1...12, using: &random)).map { _ in "channel:\(Int.random(in: 0..<30, using: &random))" }
        return names.map { name in
            let next = model[name]?.next ?? position(7, 1)
            model[name] = next
            let padding = String(repeating: "x", count: Int.random(in: 0...600, using: &random))
            return event(name, next, "\(name) \(next) \(padding)", at: WallClock.now())
        }
    }
}
