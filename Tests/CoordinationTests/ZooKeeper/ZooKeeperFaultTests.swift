@testable import Coordination
import TestKit
import Testing

extension ZooKeeperTests {
    /// These tests have their own server, which they pause, kill and reset to an earlier copy of its data.
    @Suite struct Faults {
        private static let serverTask = Task {
            let server = ZooKeeperServer()
            try await server.start()
            return server
        }

        private func withServer(
            _ change: (inout ZooKeeperConfiguration) -> Void,
            _ body: (_ server: ZooKeeperServer, _ running: RunningClient, _ root: String) async throws -> Void
        ) async throws {
            let server = try await Self.serverTask.value
            defer { server.resume() }
            try await withClient(server.address, change) { running in
                try await running.connected()
                let root = Namespace.next()
                _ = try await running.perform(.create(path: root, data: [], ephemeral: false)).get()
                try await body(server, running, root)
                server.resume()
            }
        }

        @Test func aReplyAfterTheDeadlineIsAmbiguousAndHarmless() async throws {
            try await self.withServer({ $0.sessionTimeout = .seconds(5) }) { server, running, root in
                server.pause()
                let requests: [ZooKeeperRequest] = [
                    .set(path: root, data: [1], version: 0), .multi([.set(path: root, data: [2], version: 1), .check(path: root, version: nil)]),
                ]
                for request in requests {
                    #expect(await running.perform(request, within: .milliseconds(100)) == .failure(.ambiguous(code: -7)))
                }
                let cancelled = Task { await running.perform(.get(path: root, watch: false)) }
                try await eventually("The request was not sent") { ZooKeeperRegistry.shared.inFlight == 3 }
                cancelled.cancel()
                #expect(await cancelled.value == .failure(.ambiguous(code: -116)))
                server.resume()
                guard case .success(.node(let data, let stat)) = await running.perform(.get(path: root, watch: false)) else {
                    return #expect(Bool(false))
                }
                #expect(data == [2] && stat.version == 2)
                #expect(running.states.count == 2)
            }
        }

        @Test func aSilentServerSuspendsTheSessionUntilItRepliesAgain() async throws {
            // The client notices the silence after 3 s. The server would expire the session after 4.5 s.
            try await self.withServer({ $0.sessionTimeout = .milliseconds(4500) }) { server, running, root in
                let before = running.states.last!
                _ = try await running.perform(.get(path: root, watch: true)).get()
                server.pause()
                async let lost = running.perform(.set(path: root, data: [1], version: 0), within: .seconds(10))
                try await running.state { $0.phase == .suspended }
                // -7 is the client's own code for a silent server. The server may still execute the request, and in this test it does.
                #expect(await lost == .failure(.ambiguous(code: -7)))
                #expect(await running.perform(.get(path: root, watch: false)) == .failure(.notSent(code: -4)))
                server.resume()
                #expect(try await running.connected(from: 3) == before)
                try await eventually("\(running.changes)") { running.changes.contains([root]) }
            }
        }

        @Test func aSessionSuspendedForTooLongIsLost() async throws {
            try await self.withServer({ $0.suspensionMax = .milliseconds(300) }) { server, running, root in
                let session = running.session
                _ = await running.perform(.create(path: root + "/e", data: [], ephemeral: true))
                server.pause()
                try await running.state { $0.phase == .lost(.givenUp) }
                server.resume()
                try await running.connected(from: 3)
                #expect(running.generation >= 2 && running.session != session)
                // The servers do not know that the session was given up. Its znode exists until they expire the session.
                try await eventually("The znode still exists") {
                    await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil))
                }
            }
        }

        @Test func aRestartedServerKeepsTheSessionAndItsWatches() async throws {
            try await self.withServer({ $0.suspensionMax = .seconds(30) }) { server, running, root in
                _ = await running.perform(.create(path: root + "/e", data: [], ephemeral: true))
                _ = try await running.perform(.get(path: root, watch: true)).get()
                _ = try await running.perform(.exists(path: root + "/missing", watch: true)).get()
                _ = try await running.perform(.children(path: root, watch: true)).get()
                let before = running.states.last!
                server.kill()
                try await running.state { $0.phase == .suspended }
                try await server.start()
                #expect(try await running.connected(from: 3) == before)
                // All watched paths are reported as changed, so that they are read again.
                try await eventually("\(running.changes)") { running.changes == [[root, root + "/missing"]] }
                // The client has set the three watches again on the new connection, without a read. Each watch still fires.
                _ = try await running.perform(.create(path: root + "/missing", data: [], ephemeral: false)).get()
                _ = try await running.perform(.set(path: root, data: [1], version: nil)).get()
                try await eventually("\(running.changes)") {
                    running.changes.dropFirst().reduce([]) { $0.union($1) } == [root, root + "/missing"]
                }
                guard case .success(.stat(let stat?)) = await running.perform(.exists(path: root + "/e", watch: false)) else {
                    return #expect(Bool(false))
                }
                #expect(stat.ephemeralOwner == running.session)
            }
        }

        /// The server has lost acknowledged writes. A server refuses a client that has seen a later transaction than the server has.
        /// So the session is not resumed: only the next generation sees the loss, and never the same generation.
        @Test func lostWritesAreSeenOnlyByTheNextGeneration() async throws {
            try await self.withServer({ $0.suspensionMax = .milliseconds(1500) }) { server, running, root in
                server.kill()
                let saved = try server.saveData()
                try await server.start()
                try await running.state(from: 2) { if case .connected = $0.phase { true } else { false } }
                let generation = running.generation
                for version in 0..<20 { _ = try await running.perform(.set(path: root, data: [1], version: Int32(version))).get() }
                server.kill()
                try server.restoreData(from: saved)
                let index = running.states.count
                try await server.start()
                try await running.connected(from: index)
                #expect(running.generation > generation)
                guard case .success(.node(_, let stat)) = await running.perform(.get(path: root, watch: false)) else { return #expect(Bool(false)) }
                #expect(stat.version == 0)
            }
        }

        @Test func closingDoesNotWaitLongForASilentServer() async throws {
            try await self.withServer({ $0.sessionTimeout = .seconds(5) }) { server, running, root in
                server.pause()
                async let lost = running.perform(.get(path: root, watch: false), within: .seconds(10))
                try await eventually("The request was not sent") { ZooKeeperRegistry.shared.inFlight > 0 }
                // Closing ends the request long before its deadline.
                await running.client.close()
                #expect(await lost == .failure(.ambiguous(code: -116)))
            }
        }
    }
}
