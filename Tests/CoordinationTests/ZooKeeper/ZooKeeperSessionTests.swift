import AdminAPI
@testable import Coordination
import Synchronization
import TestKit
import Testing

extension ZooKeeperTests {
    @Suite struct Sessions {
        /// A second handle takes the session over and closes it. The servers end the session, as if it had timed out.
        @Test func anExpiredSessionIsFollowedByANewSession() async throws {
            try await withSharedServer { running, root in
                _ = await running.perform(.create(path: root + "/e", data: [], ephemeral: true))
                let session = running.session
                try await expire(running.client.identity!)
                try await running.state { $0.phase == .lost(.expired) }
                let old = await running.client.perform(.exists(path: root, watch: false), generation: 1, deadline: .now + .seconds(5))
                #expect(old == .failure(.sessionLost))
                try await running.state { $0.generation == 2 && $0.phase != .connecting }
                #expect(running.session != nil && running.session != session)
                #expect(await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil)))
                // There may be several suspensions, because the first handle may have taken the session back in between.
                #expect(running.states.map(\.phase).contains(.suspended))
            }
        }

        @Test func requestsInFlightFailWhenTheSessionExpires() async throws {
            try await withSharedServer { running, root in
                let victim = SessionUnderTest(servers: try await ZooKeeperServer.shared().address)
                await victim.open()
                try await expire(victim.identity!)
                // The handle has lost its connection, and may not know yet that the session has expired.
                let waiting = await victim.session.perform(.set(path: root, data: [1], version: nil), deadline: .now + .seconds(10))
                switch waiting {
                // The cause is the end of the session, the lost connection, or a timeout of the C client.
                case .failure(.sessionLost), .failure(.ambiguous): break
                case .success, .failure: Issue.record("\(waiting)")
                }
                try await eventually("\(victim.events)") { victim.events.contains(.expired) }
                let late = await victim.session.perform(.get(path: root, watch: true), deadline: .now + .seconds(10))
                #expect(late == .failure(.sessionLost))
                await victim.session.close()
                #expect(await victim.session.perform(.get(path: root, watch: true), deadline: .now + .seconds(10)) == .failure(.sessionLost))
                #expect(await !victim.session.open())
                guard case .success(.node(data: [], _)) = await running.perform(.get(path: root, watch: false)) else { return #expect(Bool(false)) }
            }
        }

        @Test func closingDeletesTheEphemeralZnodesImmediately() async throws {
            try await withSharedServer { running, root in
                try await withClient(ZooKeeperServer.shared().address) { other in
                    try await other.connected()
                    _ = try await other.perform(.create(path: root + "/e", data: [], ephemeral: true)).get()
                    await other.client.close()
                    #expect(other.states.last == ZooKeeperState(generation: 1, phase: .closed))
                    #expect(other.states.map(\.phase).contains(.closing))
                    await other.client.close()
                }
                #expect(await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil)))
            }
        }

        @Test func aCancelledRunEndsTheSessionToo() async throws {
            try await withSharedServer { running, root in
                let client = ZooKeeperClient(configuration: .init(servers: try await ZooKeeperServer.shared().address))
                let run = Task { await client.run() }
                for await state in client.states { if case .connected = state.phase { break } }
                _ = await client.perform(.create(path: root + "/e", data: [], ephemeral: true), generation: 1, deadline: .now + .seconds(5))
                run.cancel()
                await run.value
                #expect(await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil)))
                await client.close()
            }
        }

        @Test func aClientThatNeverRanCloses() async throws {
            let client = ZooKeeperClient(configuration: .init(servers: "127.0.0.1:1"))
            #expect(await client.perform(.multi([]), generation: 1, deadline: .now + .seconds(1)) == .failure(.sessionLost))
            await client.close()
            await client.run()
            for await _ in client.states { Issue.record("No state was expected") }
        }

        @Test func withoutAServerEachGenerationIsLost() async throws {
            let silent = LoopbackSocket.listening()
            let change: (inout ZooKeeperConfiguration) -> Void = { $0.connectTimeout = .milliseconds(200) }
            for (servers, loss) in [
                ("127.0.0.1:\(silent.port)", ZooKeeperState.Loss.unreachable), ("127.0.0.1:1", .unreachable), ("127.0.0.1:port", .unresolvable),
                ("", .unresolvable),
            ] {
                try await withClient(servers, change) { running in
                    try await running.state { $0 == ZooKeeperState(generation: 1, phase: .lost(loss)) }
                    try await running.state { $0 == ZooKeeperState(generation: 3, phase: .connecting) }
                    guard case .failure(let failure) = await running.perform(.multi([])) else { return #expect(Bool(false)) }
                    #expect([.notSent(code: -4), .sessionLost].contains(failure))
                }
            }
        }

        @Test func otherUsersMayCreateZnodesBelowASharedZnode() async throws {
            let alice = ZooKeeperCredentials(user: "alice", password: "correct-horse")
            let bob = ZooKeeperCredentials(user: "bob", password: "battery-staple")
            let shared = Namespace.next()
            let refused = Result<ZooKeeperReply, ZooKeeperFailure>.failure(.refused(.notAuthorized, part: nil))
            try await withSharedServer({ $0.credentials = alice }) { running, _ in
                _ = try await running.perform(.createShared(path: shared)).get()
                _ = try await running.perform(.create(path: shared + "/a", data: [], ephemeral: false)).get()
                for (name, credentials) in [("b", bob), ("c", nil)] {
                    try await withSharedServer({ $0.credentials = credentials }) { other, _ in
                        #expect(await other.perform(.createShared(path: shared)) == .failure(.refused(.nodeExists, part: nil)))
                        _ = try await other.perform(.create(path: "\(shared)/\(name)", data: [], ephemeral: false)).get()
                        #expect(await other.perform(.set(path: shared, data: [1], version: nil)) == refused)
                        #expect(await other.perform(.create(path: "\(shared)/a/\(name)", data: [], ephemeral: false)) == refused)
                        #expect(await other.perform(.delete(path: shared + "/a", version: nil)) == refused)
                    }
                }
                #expect(await running.perform(.create(path: shared + "/b/a", data: [], ephemeral: false)) == refused)
            }
            let open = Namespace.next()
            try await withSharedServer { running, _ in
                _ = try await running.perform(.createShared(path: open)).get()
                _ = try await running.perform(.set(path: open, data: [1], version: nil)).get()
            }
        }

        @Test func withoutAThreadTheClientGetsNoHandleAndRetries() async throws {
            // A stack of this size is larger than the address space.
            #expect(ZooKeeperThread(stackBytes: 1 << 48) { _ in nil } == nil)
            #expect(ZooKeeperThread(stackBytes: 1 << 20) { _ in nil } != nil)
            var configuration = ZooKeeperConfiguration(servers: "127.0.0.1:1")
            configuration.backoffMin = .milliseconds(1)
            let client = ZooKeeperClient(configuration: configuration) { configuration, events in nil }
            async let run: Void = client.run()
            var seen: [ZooKeeperState] = []
            for await state in client.states {
                seen.append(state)
                if state.generation == 3 { break }
            }
            #expect(seen.contains(ZooKeeperState(generation: 2, phase: .lost(.unresolvable))))
            #expect(await client.perform(.multi([]), generation: 3, deadline: .now + .seconds(1)) == .failure(.sessionLost))
            // Closing also works while an attempt to open a handle is failing.
            await client.close()
            await run
        }

        @Test func otherUsersCannotAccessAZnode() async throws {
            let lines = Mutex<[String]>([])
            ZooKeeperLog.forward { _, line in lines.withLock { $0.append(line) } }
            defer { ZooKeeperLog.forward(to: nil) }
            let right = ZooKeeperCredentials(user: "alice", password: "correct-horse")
            try await withSharedServer({ $0.credentials = right }) { running, root in
                _ = try await running.perform(.set(path: root, data: [1], version: nil)).get()
                for wrong in [nil, ZooKeeperCredentials(user: "alice", password: "battery")] {
                    try await withSharedServer({ $0.credentials = wrong }) { other, own in
                        let refused = Result<ZooKeeperReply, ZooKeeperFailure>.failure(.refused(.notAuthorized, part: nil))
                        #expect(await other.perform(.get(path: root, watch: false)) == refused)
                        #expect(await other.perform(.set(path: root, data: [], version: nil)) == refused)
                        #expect(await other.perform(.create(path: root + "/a", data: [], ephemeral: false)) == refused)
                        let multi = ZooKeeperRequest.multi([.check(path: own, version: nil), .set(path: root, data: [], version: nil)])
                        #expect(await other.perform(multi) == .failure(.refused(.notAuthorized, part: 1)))
                    }
                }
                _ = try await running.perform(.multi([.create(path: root + "/a", data: [], ephemeral: false)])).get()
                _ = try await running.perform(.multi([.set(path: root + "/a", data: [], version: 0)])).get()
                try await expire(running.client.identity!)
                try await running.state { $0.generation == 2 && $0.phase != .connecting }
                #expect(await running.perform(.delete(path: root + "/a", version: nil)) == .success(.done))
                var text = ""
                dump(running.client.identity!, to: &text)
                dump(right, to: &text)
                text += "\(right)\(String(reflecting: right))" + lines.withLock { $0.joined() }
                #expect(text.contains("alice") && !text.contains("horse") && !text.contains("password"))
            }
            #expect(lines.withLock { !$0.isEmpty })
        }
    }
}

/// One handle, and the events that it reported.
final class SessionUnderTest: Sendable {
    let session: ZooKeeperSession
    private let seen: Seen

    private final class Seen: Sendable {
        let events = Mutex<[ZooKeeperSession.Event]>([])
    }

    init(servers: String) {
        var configuration = ZooKeeperConfiguration(servers: servers)
        configuration.sessionTimeout = .seconds(2)
        let seen = Seen()
        self.seen = seen
        self.session = ZooKeeperSession(configuration: configuration) { event in seen.events.withLock { $0.append(event) } }!
    }

    var events: [ZooKeeperSession.Event] { self.seen.events.withLock { $0 } }

    var identity: ZooKeeperIdentity? {
        for case .connected(let identity, _) in self.events { return identity }
        return nil
    }

    /// Returns when the handle is connected, or has received that the session expired.
    func open(takingOver identity: ZooKeeperIdentity? = nil) async {
        #expect(await self.session.open(takingOver: identity))
        try? await eventually("\(self.events)") { self.identity != nil || self.events.contains(.expired) }
    }
}

/// Ends a session of the shared server, as its expiry would.
///
/// While two handles of a session are open, they take the session from each other. A handle ends the session only if it has the session when it closes.
/// So this function repeats the attempt until a further handle receives that the session expired.
func expire(_ identity: ZooKeeperIdentity) async throws {
    let address = try await ZooKeeperServer.shared().address
    var isOver = false
    while !isOver {
        let thief = SessionUnderTest(servers: address)
        await thief.open(takingOver: identity)
        #expect(thief.identity == identity || thief.identity == nil)
        isOver = thief.events.contains(.expired)
        await thief.session.close()
    }
}
