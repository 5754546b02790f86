import Coordination
import TestKit
import Testing

extension ZooKeeperTests {
    @Suite struct Ensembles {
        /// The follower continues to reply to heartbeats and reads, for up to 25 s.
        @Test func aSessionAtAFollowerThatLostItsLeaderIsSuspended() async throws {
            let ensemble = ZooKeeperEnsemble(syncLimit: 100)
            try await ensemble.start()
            defer { ensemble.kill() }
            let follower = try #require(ensemble.follower)
            let others = ensemble.servers.filter { $0 !== follower }
            func cautious(_ configuration: inout ZooKeeperConfiguration) {
                configuration.sessionTimeout = .seconds(5)
                configuration.isCautious = true
            }
            try await withClient(follower.address, cautious) { running in
                try await running.connected()
                let session = running.session
                for server in others { server.pause() }
                try await running.state { $0.phase == .suspended }
                // The follower has not noticed the loss of its leader and still serves.
                #expect(follower.mode == "follower")
                let index = running.states.count
                for server in others { server.resume() }
                // The session is resumed in time. On a busy machine it may have been given up meanwhile.
                try await running.connected(from: index)
                #expect(running.session == session || running.states.contains { $0.phase == .lost(.givenUp) })
            }
        }

        @Test func aSessionOutlivesTheLeaderAndDataOutlivesAllServers() async throws {
            let ensemble = ZooKeeperEnsemble()
            try await ensemble.start()
            defer { ensemble.kill() }
            func brief(_ configuration: inout ZooKeeperConfiguration) {
                configuration.sessionTimeout = .seconds(4)
                configuration.suspensionMax = .seconds(4)
                configuration.connectTimeout = .milliseconds(500)
                configuration.backoffMax = .milliseconds(200)
            }
            try await withClient(ensemble.addresses, brief) { running in
                try await running.connected()
                let root = Namespace.next()
                _ = try await running.perform(.create(path: root, data: [], ephemeral: false)).get()
                _ = try await running.perform(.create(path: root + "/e", data: [], ephemeral: true)).get()
                let session = running.session

                // The other servers elect a new leader, which gives every session a full timeout. The client may have been connected to any server.
                let leader = ensemble.leader!
                leader.kill()
                try await eventually("\(running.states)") {
                    if case .success = await running.perform(.set(path: root, data: [1], version: nil)) { true } else { false }
                }
                #expect(running.session == session && running.generation == 1)
                try await leader.start()

                // All servers stop for longer than every timeout. The session is given up, and all later generations find no server.
                // A longer outage would only add generations. Nothing else in the client measures the time, and no session expires while the servers are down.
                ensemble.kill()
                try await running.state { $0.phase == .lost(.givenUp) }
                try await running.state { $0 == ZooKeeperState(generation: 4, phase: .lost(.unreachable)) }
                let index = running.states.count
                try await ensemble.start()
                try await running.connected(from: index)
                #expect(running.session != session)
                try await eventually("The znode of the lost session still exists") {
                    await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil))
                }
                guard case .success(.node(data: [1], _)) = await running.perform(.get(path: root, watch: false)) else { return #expect(Bool(false)) }
            }
        }
    }
}
