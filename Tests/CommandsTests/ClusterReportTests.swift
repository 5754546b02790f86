import AdminAPI
import Testing

@testable import Commands

@Suite struct ClusterReportTests {
    private let plain = ClusterSamples.plain

    @Test func showsTheOverview() throws {
        let overview = try ClusterOverview(
            ClusterSamples.overview(moving: 3, health: "degraded", reasons: "\"n7 cannot reach n2.\""))
        let table = overview.table(on: self.plain)
        for text in [
            "prod, mode normal", "controller     n3, epoch 17, view 8,123, 4s old", "connected, session 0x1f, timeout 6.0 s (session of n3, the controller)",
            "3 active, 1 draining",
            "1,024: 1,021 served, 3 moving", "1.010 times an even share", "12,345 connections, 101/s published, 20,000/s delivered", "! n7 cannot reach n2.",
            "\n- n2 is draining: draining, requested by ann (kernel).",
        ] {
            #expect(table.contains(text), "\(text)")
        }
        #expect(overview.exitStatus == .degraded && !overview.isAlone)
        #expect(try ClusterOverview(ClusterSamples.overview(zookeeper: "null")).isAlone)
        #expect(try ClusterOverview(ClusterSamples.overview(ClusterSamples.head(controller: false))).exitStatus == .critical)
        #expect(try ClusterOverview(ClusterSamples.overview(ClusterSamples.head(authoritative: false))).exitStatus == .degraded)
        #expect(throws: CommandError.self) { try ClusterOverview("{}") }
    }

    /// The cluster's health comes from the node. The command does not compute it.
    @Test func theHealthOfTheClusterComesFromTheNode() throws {
        let head = ClusterSamples.head(authoritative: false, controller: false, health: "degraded")
        let members = try ClusterMembers(ClusterSamples.members(ClusterSamples.member("n1"), head: head))
        let partitions = try ClusterPartitions(ClusterSamples.partitions(head: head))
        let plan = try ClusterPlan(ClusterSamples.plan(head))
        let overview = try ClusterOverview(ClusterSamples.overview(head, health: "degraded"))
        #expect([members.exitStatus, partitions.exitStatus, plan.exitStatus, overview.exitStatus].allSatisfy { $0 == .degraded })
        for table in [members.table(on: self.plain), partitions.table(on: self.plain), plan.table(on: self.plain)] {
            #expect(table.contains("! No decision is made.\n") && table.contains("\ncontroller none (reported by n3), view 8,123"), "\(table)")
        }
    }

    @Test func showsMembers() throws {
        let members = try ClusterMembers(
            ClusterSamples.members(
                ClusterSamples.member("n1"), ClusterSamples.member("n2", state: "draining", desired: "draining", movingOut: 8),
                ClusterSamples.member("n3", notSeenBy: ["n7"], alarm: "the view went back"), ClusterSamples.member("n4", ageMs: 7000, presence: "suspect"),
                ClusterSamples.member("n11", state: "down"), ClusterSamples.member("n12", state: "fenced", desired: "cordoned"),
                ClusterSamples.member("n13", presence: "down", notSeenBy: ["n1", "n2"]), ClusterSamples.member("n14", ageMs: nil, presence: "unknown"),
                ClusterSamples.member("n15", presence: "suspect", notSeenBy: ["n1", "n2"]), ClusterSamples.member("n16", session: "suspended")))
        #expect(members.members.map(\.code) == ["UA", "UD", "UA", "SA", "DA", "FC", "DA", "?A", "SA", "UA"])
        #expect(
            members.members.map(\.exitStatus) == [
                .ok, .ok, .degraded, .degraded, .degraded, .degraded, .degraded, .degraded, .degraded, .degraded,
            ])
        let table = members.table(on: self.plain)
        let lines = table.split(separator: "\n")
        #expect(lines[0].hasPrefix("ST  NODE  OWNS  MOVING  CONNECTIONS") && lines[1].hasPrefix("UA  n1    341   -       48,211"))
        for text in [
            "341", "33.3%", "-8", "48,211", "12.1/s", "live 0.4s", "2/2", "1d 1h", "none", "! n3 is unreachable from n7", "no report 7.0s",
            "! n4 is suspect: no report for 7 s",
            "! n13 is down: its link port is closed", "no report", "! n15 is suspect: unreachable from n1, n2", "suspended",
            "! n16 has no connection to ZooKeeper: its session is suspended", "! n11 is down: start it, or remove it with realertime forget n11",
            "! n12 is fenced",
            "! alarm at n3: the view went back", "! n2 is being drained by ann: kernel",
            "! n12 will be cordoned by ann: kernel", "U up, D down", "controller n3, epoch 17",
        ] {
            #expect(table.contains(text), "\(text)")
        }
    }

    @Test func aDrainedNodeThatIsDownIsNotAProblem() throws {
        let members = try ClusterMembers(
            ClusterSamples.members(ClusterSamples.member("n1"), ClusterSamples.member("n2", state: "down", desired: "draining", owned: 0)))
        #expect(members.exitStatus == .ok && members.members[1].code == "DD")
    }

    @Test func showsPartitions() throws {
        let served = "{\"partition\":3,\"owner\":\"n1\",\"owner_epoch\":12,\"state\":\"served\",\"api\":\"n1:8081\"}"
        let moving =
            "{\"partition\":4,\"owner\":\"n2\",\"owner_epoch\":9,\"state\":\"moving\",\"moving_to\":\"n5\",\"reason\":\"drain\",\"pinned_to\":\"n5\",\"api\":\"n2:8081\"}"
        let orphan = "{\"partition\":5,\"owner_epoch\":2,\"state\":\"orphan\"}"
        let unknown = "{\"partition\":6,\"owner\":\"n4\",\"owner_epoch\":2,\"state\":\"unknown\"}"
        let contested = "{\"partition\":7,\"owner\":\"n4\",\"owner_epoch\":2,\"state\":\"served\",\"contested\":true}"
        #expect(try ClusterPartitions(ClusterSamples.partitions(served, moving)).exitStatus == .ok)
        #expect(try ClusterPartitions(ClusterSamples.partitions(served, unknown)).exitStatus == .degraded)
        #expect(try ClusterPartitions(ClusterSamples.partitions(served, orphan)).exitStatus == .critical)
        #expect(try ClusterPartitions(ClusterSamples.partitions(contested)).exitStatus == .critical)
        let table = try ClusterPartitions(ClusterSamples.partitions(served, moving, orphan, contested)).table(on: self.plain)
        #expect(table.contains("to n5 (drain)  9      n5") && table.contains("served, contested") && table.contains("5          -      orphan"))
        let location = try ClusterPartitions(ClusterSamples.partitions(moving, channel: "thread:42")).location(on: self.plain)
        for text in ["thread:42", "partition    4", "owner        n2", "owner epoch  9", "moving to n5 (drain)", "n2:8081", "controller n3"] {
            #expect(location.contains(text), "\(text)")
        }
    }

    @Test func showsPlans() throws {
        let pair = "{\"from\":\"n1\",\"to\":\"n12\",\"reason\":\"balance\",\"count\":10}"
        let plan = try ClusterPlan(ClusterSamples.plan(moves: 52, pairs: pair))
        let table = plan.table(on: self.plain)
        #expect(table.contains("n1    n12  10          balance") && table.contains("52 moves (lower bound 52) in 3 rounds"))
        #expect(plan.exitStatus == .ok && !plan.isEmpty)
        let paused = try ClusterPlan(ClusterSamples.plan(ClusterSamples.head(mode: "maintenance"), moves: 52, waiting: 52))
        #expect(paused.table(on: self.plain).contains("! 52 of these moves wait: rebalancing is paused ('realertime rebalance resume' ends the pause)"))
        let unsettled = try ClusterPlan(ClusterSamples.plan(moves: 52, waiting: 52, settled: false))
        #expect(unsettled.table(on: self.plain).contains("a node is joining"))
        let refused = try ClusterPlan(ClusterSamples.plan(refusals: "\"partition 3 is pinned to n9, but there is no such node\""))
        #expect(refused.exitStatus == .degraded && refused.table(on: self.plain).contains("nothing to move"))
    }

    @Test func eachEventIsPrintedOnceAcrossControllers() throws {
        var tail = EventTail(after: 0)
        #expect(tail.accept(try ClusterEvents(ClusterSamples.events("n3", [(1, at: 10), (2, at: 20)]))).events.map(\.number) == [1, 2])
        #expect(tail.after == 2)
        #expect(tail.accept(try ClusterEvents(ClusterSamples.events("n3", []))).events.isEmpty && tail.after == 2)
        // Another controller has its own event numbers.
        let change = tail.accept(try ClusterEvents(ClusterSamples.events("n1", [(40, at: 30)])))
        #expect(change.mustRestart && change.events.isEmpty && change.notice?.contains("are reported by n1 instead of n3") == true && tail.after == 0)
        let rest = tail.accept(try ClusterEvents(ClusterSamples.events("n1", [(38, at: 10), (39, at: 20), (40, at: 30)])))
        #expect(rest.events.map(\.number) == [39, 40] && !rest.mustRestart && tail.after == 40)
    }

    @Test func theSessionsOfTheNodeAndTheControllerAreDistinguished() throws {
        let json = StatusTests.json.replacing(
            "\"health\"", with: "\"cluster\":{\"name\":\"prod\",\"session\":\"suspended\",\"view_version\":7,\"partitions\":{},\"links\":[]},\"health\"")
        let node = try NodeStatus(json: Array(json.utf8))
        let section = ClusterSection.cluster(.init(report: try ClusterOverview(ClusterSamples.overview()), json: "{}"))
        let table = section.table(with: node, on: self.plain)
        #expect(table.contains("zookeeper      connected, session 0x1f, timeout 6.0 s (session of n3, the controller)\n"))
        #expect(table.contains("zookeeper      suspended (session of n1)\n"))
    }

    @Test func statusShowsTheClusterAndTheNode() throws {
        let node = try NodeStatus(json: Array(StatusTests.json.utf8))
        #expect(
            ClusterSection.alone.json(with: "{\"a\":1}") == "{\"a\":1}" && ClusterSection.alone.table(with: node, on: self.plain) == node.table(on: self.plain))
        let overview = try ClusterOverview(ClusterSamples.overview(health: "degraded", reasons: "\"n1: The disk is nearly full.\""))
        let section = ClusterSection.cluster(.init(report: overview, json: "{\"b\":2}"))
        #expect(section.json(with: "{\"a\":1}") == "{\"a\":1,\"cluster\":{\"b\":2}}")
        let table = section.table(with: node, on: self.plain)
        #expect(table.contains("prod, mode normal") && table.contains("\n\nnode ") && table.ranges(of: "nearly full").count == 1)
        #expect(section.json(with: "{\"cluster\":null,\"a\":1}") == "{\"a\":1,\"cluster\":{\"b\":2}}", "the field occurs only once")
        let unknown = ClusterSection.unknown("503: no controller", json: "null", isTemporary: true)
        #expect(unknown.exitStatus == .degraded, "the node itself may be healthy")
        #expect(unknown.table(with: node, on: self.plain).hasPrefix("cluster        status unavailable: 503: no controller\n\nnode           n1\n"))
        // The response and the node's own status contain the same reason. It is shown only once.
        let outage = ClusterSection.unknown("504: The disk is nearly full", json: "null", isTemporary: false)
        #expect(outage.exitStatus == .critical)
        #expect(outage.table(with: node, on: self.plain).ranges(of: "nearly full").count == 1)
    }
}
