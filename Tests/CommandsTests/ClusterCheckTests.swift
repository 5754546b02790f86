import AdminAPI
import Testing

@testable import Commands

@Suite struct ClusterCheckTests {
    private static let served = "{\"partition\":3,\"owner\":\"n1\",\"owner_epoch\":12,\"state\":\"served\"}"

    private func checks(
        overview: String = ClusterSamples.overview(), members: String = ClusterSamples.members(ClusterSamples.member("n1"), ClusterSamples.member("n2")),
        partitions: String = ClusterSamples.partitions(served), events: String = ClusterSamples.events("n3", [])
    ) throws -> [String: Check] {
        let all = ClusterChecks(
            overview: try ClusterOverview(overview), members: try ClusterMembers(members), partitions: try ClusterPartitions(partitions),
            events: try ClusterEvents(events)
        ).all()
        return Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
    }

    @Test func aHealthyClusterHasNoFindings() throws {
        let checks = try self.checks()
        #expect(checks.values.allSatisfy { $0.outcome == .ok }, "\(checks)")
        #expect(Set(checks.keys) == ["controller", "zookeeper", "nodes", "partitions", "views", "links", "alarms", "ids", "versions", "balance"])
    }

    @Test func eachFindingHasAdvice() throws {
        let contested = "{\"partition\":7,\"owner\":\"n4\",\"owner_epoch\":2,\"state\":\"served\",\"contested\":true}"
        let cases: [(String, Check.Outcome, [String: Check])] = [
            ("controller", .fail, try self.checks(overview: ClusterSamples.overview(ClusterSamples.head(controller: false)))),
            ("controller", .warn, try self.checks(overview: ClusterSamples.overview(ClusterSamples.head(authoritative: false)))),
            ("zookeeper", .warn, try self.checks(overview: ClusterSamples.overview(zookeeper: "{\"node\":\"n3\",\"state\":\"suspended\"}"))),
            ("nodes", .warn, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", state: "down")))),
            ("nodes", .warn, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", ageMs: 9000, presence: "suspect")))),
            ("partitions", .fail, try self.checks(partitions: ClusterSamples.partitions(contested))),
            ("partitions", .fail, try self.checks(partitions: ClusterSamples.partitions("{\"partition\":7,\"owner_epoch\":2,\"state\":\"orphan\"}"))),
            (
                "partitions", .warn,
                try self.checks(partitions: ClusterSamples.partitions("{\"partition\":7,\"owner\":\"n1\",\"owner_epoch\":2,\"state\":\"preparing\"}"))
            ),
            ("views", .warn, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", view: 8100)))),
            ("links", .warn, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", notSeenBy: ["n2"])))),
            ("alarms", .fail, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", alarm: "the view went back")))),
            (
                "ids", .warn,
                try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1", link: "h:1"), ClusterSamples.member("n2", link: "h:1")))
            ),
            (
                "ids", .warn,
                try self.checks(
                    events: "{\"through\":\"n1\",\"events\":[{\"number\":1,\"kind\":\"blocked\",\"at\":5,\"node\":\"n1\",\"view\":1,\"text\":\"x\"}]}")
            ),
            ("versions", .warn, try self.checks(members: ClusterSamples.members(ClusterSamples.member("n1"), ClusterSamples.member("n2", version: "0.2.0")))),
            ("balance", .warn, try self.checks(overview: ClusterSamples.overview(spread: 1.4))),
            ("balance", .warn, try self.checks(overview: ClusterSamples.overview(ClusterSamples.head(mode: "maintenance")))),
        ]
        for (name, outcome, checks) in cases {
            let check = try #require(checks[name])
            #expect(check.outcome == outcome && check.advice?.isEmpty == false, "\(check)")
        }
    }

    /// The only finding has the node's text. No other finding contradicts it.
    @Test func withoutZooKeeperThereIsOneFinding() throws {
        let head = ClusterSamples.head(authoritative: false, controller: false, health: "degraded")
        let unknown = "{\"partition\":3,\"owner\":\"n1\",\"owner_epoch\":12,\"state\":\"unknown\"}"
        let checks = try self.checks(
            overview: ClusterSamples.overview(head, zookeeper: "{\"node\":\"n3\",\"state\":\"lost\"}", health: "degraded"),
            members: ClusterSamples.members(ClusterSamples.member("n1"), ClusterSamples.member("n2", ageMs: nil), head: head),
            partitions: ClusterSamples.partitions(unknown, head: head))
        #expect(checks.values.filter { $0.outcome > .skip }.map(\.name) == ["zookeeper"], "\(checks)")
        #expect(checks["zookeeper"]?.outcome == .warn && checks["zookeeper"]?.detail == "No decision is made.")
    }
}
