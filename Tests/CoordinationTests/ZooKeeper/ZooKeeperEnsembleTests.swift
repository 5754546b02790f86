import Coordination
import TestKit
import Testing

extension ZooKeeperTests {
    @Suite struct Ensembles {
        /// It answers heartbeats and reads all the while, and would for 25 s.
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
                // The follower has not noticed anything: it would serve.
                #expect(follower.mode == "follower")
                let index = running.states.count
                for server in others { server.resume() }
                // In time, or it was given up meanwhile, as a busy machine may do it.
                try await running.connected(from: index)
                #expect(running.session == session || running.states.contains { $0.phase == .lost(.givenUp) })
            }
        }

        @Test func theSessionOutlivesTheLeaderAndTheStateAllServers() async throws {
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

                // Whether or not this client was connected to it: the others elect one, and give every session a full timeout.
                let leader = ensemble.leader!
                leader.kill()
                try await eventually("\(running.states)") {
                    if case .success = await running.perform(.set(path: root, data: [1], version: nil)) { true } else { false }
                }
                #expect(running.session == session && running.generation == 1)
                try await leader.start()

                // All stop, for longer than anything waits: the session is given up, then generations come and go, each unreachable.
                // A longer outage is only more of them: nothing else in the client counts the time, and no server counts while it is down.
                ensemble.kill()
                try await running.state { $0.phase == .lost(.givenUp) }
                try await running.state { $0 == ZooKeeperState(generation: 4, phase: .lost(.unreachable)) }
                let index = running.states.count
                try await ensemble.start()
                try await running.connected(from: index)
                #expect(running.session != session)
                try await eventually("The node of the lost session stays") {
                    await running.perform(.exists(path: root + "/e", watch: false)) == .success(.stat(nil))
                }
                guard case .success(.node(data: [1], _)) = await running.perform(.get(path: root, watch: false)) else { return #expect(Bool(false)) }
            }
        }
    }
}
