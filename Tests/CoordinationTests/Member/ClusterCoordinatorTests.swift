import AdminAPI
import JSON
import NIOConcurrencyHelpers
import TestKit
import Testing

@testable import Coordination

extension ZooKeeperTests {
    /// Tests with whole members and a real ZooKeeper: with real sessions, watches and time, unlike the tests of the machines.
    @Suite struct ClusterCoordinatorTests {
        private func withCluster(_ body: (ClusterInProcess) async throws -> Void) async throws {
            let name = String(Namespace.next().dropFirst())
            let cluster = ClusterInProcess(servers: try await ZooKeeperServer.shared().address, name: name)
            do {
                try await body(cluster)
            } catch {
                await cluster.stop()
                throw error
            }
            await cluster.stop()
        }

        private func status(_ cluster: ClusterInProcess, at id: String) async throws -> (health: String, served: Int64, body: String) {
            let answer = await cluster.request(AdminRequest(.status), at: id)
            guard answer.isSuccess else { return ("\(answer.error?.code.rawValue ?? "")", 0, answer.json) }
            var object = try JSONValue(Array(answer.json.utf8), named: "status", bytesMax: 1_000_000).object()
            var partitions = try object.required("partitions").object()
            return (try object.string("health", bytesMax: 20), try partitions.integer("served", in: 0...100_000), answer.json)
        }

        private func healthy(_ cluster: ClusterInProcess, at id: String, within limit: Duration = .seconds(60)) async throws {
            var last = ""
            do {
                try await eventually(within: limit, "not healthy: \(last)") {
                    let status = try await self.status(cluster, at: id)
                    last = status.body
                    return status.health == "healthy" && status.served == 60
                }
            } catch {
                Issue.record("not healthy at \(id): \(last)")
                throw error
            }
        }

        private func owned(_ cluster: ClusterInProcess) async throws -> [String: Int] {
            var counts: [String: Int] = [:]
            for (id, member) in cluster.members.withLockedValue({ $0 }) { counts[id] = await member.coordinator.summary.count(.serving) }
            return counts
        }

        @Test func aLoneMemberOwnsEveryPartition() async throws {
            try await self.withCluster { cluster in
                cluster.start("n1")
                try await self.healthy(cluster, at: "n1")
                #expect(try await self.owned(cluster) == ["n1": 60])
            }
        }

        @Test func aSealThatTheLogRefusesIsRepeated() async throws {
            try await self.withCluster { cluster in
                let member = cluster.start("n1")
                member.storage.refusing.withLockedValue { $0 = [3, 4] }
                try await eventually(within: .seconds(60), "not all partitions are sealed") { member.storage.grants.count == 60 }
                try await eventually(within: .seconds(10), "not all partitions are served") { try await self.status(cluster, at: "n1").served == 60 }
                #expect(member.recorded.all.contains { $0.kind == .alarm && $0.text.contains("refuses 2 partitions of this node") })
            }
        }

        @Test func threeMembersShareThePartitionsAndEachResponds() async throws {
            try await self.withCluster { cluster in
                for id in ["n1", "n2", "n3"] { cluster.start(id) }
                for id in ["n1", "n2", "n3"] { try await self.healthy(cluster, at: id) }
                try await eventually(within: .seconds(60), "not balanced") { try await self.owned(cluster) == ["n1": 20, "n2": 20, "n3": 20] }
            }
        }

        @Test func theOtherMembersTakeOverWhenAMemberLeaves() async throws {
            try await self.withCluster { cluster in
                for id in ["n1", "n2", "n3"] { cluster.start(id) }
                try await eventually(within: .seconds(60), "not balanced") { try await self.owned(cluster) == ["n1": 20, "n2": 20, "n3": 20] }
                let leaving = cluster.members.withLockedValue { $0.removeValue(forKey: "n1")! }
                await leaving.stop()
                try await eventually(within: .seconds(60), "the partitions are not taken over") { try await self.owned(cluster) == ["n2": 30, "n3": 30] }
            }
        }

        @Test func aMemberIsDrainedAndUndrained() async throws {
            try await self.withCluster { cluster in
                for id in ["n1", "n2", "n3"] { cluster.start(id) }
                try await self.healthy(cluster, at: "n2")
                try await eventually(within: .seconds(60), "not balanced") { try await self.owned(cluster) == ["n1": 20, "n2": 20, "n3": 20] }
                #expect(await cluster.request(AdminRequest(.drain, node: "n3", by: "test"), at: "n2").isSuccess)
                try await eventually(within: .seconds(60), "n3 is not drained") { try await self.owned(cluster) == ["n1": 30, "n2": 30, "n3": 0] }
                #expect(await cluster.request(AdminRequest(.undrain, node: "n3"), at: "n1").isSuccess)
                try await eventually(within: .seconds(60), "n3 got no partitions") { try await self.owned(cluster) == ["n1": 20, "n2": 20, "n3": 20] }
            }
        }

        @Test func anExpiredSessionIsReplaced() async throws {
            try await self.withCluster { cluster in
                for id in ["n1", "n2"] { cluster.start(id) }
                try await eventually(within: .seconds(60), "not balanced") { try await self.owned(cluster) == ["n1": 30, "n2": 30] }
                for id in ["n1", "n2"] {
                    let member = cluster.members.withLockedValue { $0[id]! }
                    let before = await member.coordinator.summary.incarnation
                    try await expire(try #require(member.client.identity))
                    try await eventually(within: .seconds(60), "no new incarnation") {
                        let now = await member.coordinator.summary.incarnation
                        return now != nil && now != before
                    }
                    try await eventually(within: .seconds(60), "not balanced again") { try await self.owned(cluster) == ["n1": 30, "n2": 30] }
                }
            }
        }

        @Test func anIDIsUsedByOneNodeOnly() async throws {
            try await self.withCluster { cluster in
                cluster.start("n1")
                try await self.healthy(cluster, at: "n1")
                let other = ClusterInProcess(servers: try await ZooKeeperServer.shared().address, name: cluster.name)
                let second = other.start("n1") { $0.link = "elsewhere:1" }
                let reason = await second.end
                #expect(reason?.contains("another node uses the id n1") ?? false)
                second.transport.stop()
                try await self.healthy(cluster, at: "n1")
            }
        }

        @Test(arguments: ["controller", "controller_epoch", "nodes", "view"]) func aDamagedZnodeIsRepaired(_ znode: String) async throws {
            let servers = try await ZooKeeperServer.shared().address
            try await self.withCluster { cluster in
                for id in ["n1", "n2"] { cluster.start(id) { $0.alarmMin = .seconds(1) } }
                for id in ["n1", "n2"] { try await self.healthy(cluster, at: id) }
                let path = "/rt/\(cluster.name)/\(znode)"
                try await withClient(servers) { running in
                    try await running.connected()
                    let garbage: [UInt8] = [0x00, 0xFF, 0x7B]
                    _ = try await running.perform(
                        znode == "controller" || znode == "view" ? .set(path: path, data: garbage, version: nil) : .delete(path: path, version: nil)
                    ).get()
                }
                let members = cluster.members.withLockedValue { Array($0.values) }
                try await eventually(within: .seconds(60), "no alarm") {
                    members.contains { $0.recorded.all.contains { $0.kind == .alarm && ($0.text.contains(path) || $0.text.contains("the view in ZooKeeper")) } }
                }
                for id in ["n1", "n2"] { try await self.healthy(cluster, at: id) }
                // The next controller must find all data that it needs.
                var controller: ClusterInProcess.Member?
                for member in members where await member.coordinator.summary.isController { controller = member }
                let gone = try #require(controller)
                cluster.members.withLockedValue { $0[gone.id] = nil }
                await gone.stop()
                let rest = gone.id == "n1" ? "n2" : "n1"
                try await eventually(within: .seconds(60), "the partitions are not taken over") { try await self.owned(cluster) == [rest: 60] }
            }
        }

        @Test func nodesRestoreTheClusterAfterZooKeeperLostAllData() async throws {
            let server = ZooKeeperServer()
            let empty = try server.saveData()
            try await server.start()
            let cluster = ClusterInProcess(servers: server.address, name: "emptied")
            for id in ["n1", "n2"] { cluster.start(id) }
            try await self.healthy(cluster, at: "n1")
            #expect(await cluster.request(AdminRequest(.cordon, node: "n2", by: "alice", note: "disk"), at: "n1").isSuccess)
            try await eventually(within: .seconds(60), "the cordon is not on both disks") {
                ["n1", "n2"].allSatisfy { cluster.disk($0).remembered?.view?.node("n2")?.desired?.desired == .cordoned }
            }
            let before = try #require(cluster.disk("n1").remembered)
            let used = before.view?.partitions.map(\.ownerEpoch).max() ?? 0
            await cluster.stop()
            server.kill()
            try server.restoreData(from: empty)
            try await server.start()
            for id in ["n1", "n2"] { cluster.start(id) }
            try await eventually(within: .seconds(60), "the cluster is not restored") {
                guard let now = cluster.disk("n1").remembered, now.configuration.clusterID == before.configuration.clusterID, let view = now.view else {
                    return false
                }
                return view.version > before.view?.version ?? 0 && view.partitions.allSatisfy { $0.owner != nil && $0.ownerEpoch > used }
                    && view.node("n2")?.state == .cordoned && view.node("n2")?.desired?.note == "disk"
            }
            let answer = await cluster.request(AdminRequest(.status), at: "n1")
            #expect(answer.json.contains("lost"))
            await cluster.stop()
        }
    }
}
