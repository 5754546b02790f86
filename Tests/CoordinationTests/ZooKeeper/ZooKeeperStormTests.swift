import AdminAPI
@testable import Coordination
import Foundation
import TestKit
import Testing

extension ZooKeeperTests {
    @Suite struct Storms {
        /// The number of sessions: 10,000 if `REALERTIME_LONG_TESTS` is set. Both numbers are enough to find a leak of a token, a thread or a descriptor.
        private static let sessions = ProcessInfo.processInfo.environment["REALERTIME_LONG_TESTS"] == nil ? 300 : 10_000

        /// Sessions are closed in different phases, with operations in flight. Each operation completes exactly once, and nothing leaks.
        @Test func sessionsOpenAndCloseWithOperationsInFlight() async throws {
            let address = try await ZooKeeperServer.shared().address
            try await withSharedServer { _, root in
                // The first sessions allocate resources that the process keeps. These are not a leak.
                await Self.storm(of: 20, address, root)
                try await eventually("Operations of the first sessions are still in flight") { ZooKeeperRegistry.shared.inFlight == 0 }
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

        /// Returns the number of operations that completed.
        private static func one(_ number: Int, _ address: String, _ root: String) async -> Int {
            let victim = SessionUnderTest(servers: address)
            guard await victim.session.open() else { return 0 }
            // One third of the sessions close before they are connected, one third immediately after, and one third while replies arrive.
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
