import AdminAPI
@testable import Coordination
import Foundation
import TestKit
import Testing

extension ZooKeeperTests {
    @Suite struct Storms {
        /// 10,000 with `REALERTIME_LONG_TESTS` set; both find a token, a thread or a descriptor that is not given back.
        private static let sessions = ProcessInfo.processInfo.environment["REALERTIME_LONG_TESTS"] == nil ? 300 : 10_000

        /// Opened and closed at every moment of a session's life, with operations in flight: each is answered, exactly once, and nothing is left.
        @Test func sessionsOpenAndCloseWithOperationsInFlight() async throws {
            let address = try await ZooKeeperServer.shared().address
            try await withSharedServer { _, root in
                // What the first few leave in the process for good is not a leak.
                await Self.storm(of: 20, address, root)
                try await eventually("Threads of the first sessions are left") { ZooKeeperRegistry.shared.inFlight == 0 }
                let before = Resources()
                let answers = await Self.storm(of: Self.sessions, address, root)
                #expect(answers == Self.sessions * 40)
                try await eventually("\(before) before, \(Resources()) after") {
                    let after = Resources()
                    return ZooKeeperRegistry.shared.inFlight == 0 && after.threads <= before.threads + 4 && after.descriptors <= before.descriptors + 4
                }
            }
        }

        @discardableResult
        private static func storm(of count: Int, _ address: String, _ root: String) async -> Int {
            await withTaskGroup(of: Int.self) { group in
                for worker in 0..<8 {
                    group.addTask {
                        var answers = 0
                        for number in stride(from: worker, to: count, by: 8) { answers += await Self.one(number, address, root) }
                        return answers
                    }
                }
                return await group.reduce(0, +)
            }
        }

        /// The number of operations that were answered.
        private static func one(_ number: Int, _ address: String, _ root: String) async -> Int {
            let victim = SessionUnderTest(servers: address)
            guard await victim.session.open() else { return 0 }
            // A third closes before there is a connection, a third at once after, a third with replies coming in.
            if number % 3 > 0 { try? await eventually("\(victim.events)") { victim.identity != nil } }
            return await withTaskGroup(of: Void.self) { group in
                for operation in 0..<40 {
                    let request: ZooKeeperRequest =
                        switch operation % 4 {
                        case 0: .get(path: root, watch: true)
                        case 1: .set(path: root, data: [UInt8(operation)], version: nil)
                        case 2: .multi([.check(path: root, version: nil), .set(path: root, data: [], version: nil)])
                        default: .children(path: root, watch: true)
                        }
                    group.addTask { _ = await victim.session.perform(request, deadline: .now + .milliseconds(operation % 5 == 0 ? 2 : 5000)) }
                }
                if number % 3 == 2 { try? await Task.sleep(for: .microseconds(number % 7 * 300)) }
                group.addTask { await victim.session.close() }
                var answers = -1
                for await _ in group { answers += 1 }
                return answers
            }
        }
    }
}

private struct Resources {
    let threads = Self.count("/proc/self/task")
    let descriptors = Self.count("/proc/self/fd")

    private static func count(_ folder: String) -> Int {
        (try? FileManager.default.contentsOfDirectory(atPath: folder).count) ?? 0
    }
}
