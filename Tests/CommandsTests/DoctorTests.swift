import AdminAPI
import Foundation
import SubscriberAPI
import Testing

@testable import Commands

@Suite struct DoctorTests {
    private let metrics = PrometheusText(
        """
        # HELP realertime_connections Now.
        # TYPE realertime_connections gauge
        realertime_connections{transport="sse"} 2
        realertime_connections{transport="longpoll"} 1
        realertime_connections_opened_total{transport="sse"} 7
        realertime_connections_closed_total{transport="sse"} 5
        realertime_connections_opened_total{transport="longpoll"} 3
        realertime_connections_closed_total{transport="longpoll"} 3
        realertime_published_total 100 1700000000
        realertime_gaps_total{reason="a \\"b\\\\",x="1",} 1.0e2
        realertime_log_failures_total 0
        broken{x="1
        broken{x} 1
        """)

    @Test func readsMetrics() {
        #expect(metrics.samples.count == 9)
        #expect(metrics.value("realertime_connections") == 3)
        #expect(metrics.value("realertime_connections", ["transport": "sse"]) == 2)
        #expect(metrics.value("realertime_published_total") == 100)
        #expect(metrics.value("realertime_gaps_total", ["reason": "a \"b\\"]) == 100)
        #expect(metrics.value("other") == nil)
    }

    @Test func countersMustBeConsistent() {
        #expect(CounterChecks.conservation(.sse, metrics).outcome == .ok)
        #expect(CounterChecks.conservation(.longPoll, metrics).outcome == .fail)
        #expect(CounterChecks.conservation(.webSocket, metrics).outcome == .fail)
        #expect(CounterChecks.log(metrics).outcome == .ok)
        #expect(CounterChecks.growth(from: metrics, to: metrics).outcome == .fail)
        func counts(_ published: Int) -> PrometheusText {
            PrometheusText("realertime_published_total \(published)\nrealertime_delivered_total \(published * 2)\nrealertime_duplicates_total \(published)\n")
        }
        #expect(CounterChecks.growth(from: counts(0), to: counts(21)).outcome == .ok)
        #expect(CounterChecks.growth(from: counts(0), to: counts(20)).outcome == .fail)
        // At a member of a cluster, another node may own the channel and count its publishes; the deliveries are this node's.
        func memberCounts(_ delivered: Int) -> PrometheusText {
            PrometheusText("realertime_relay_parked 0\nrealertime_published_total 0\nrealertime_delivered_total \(delivered)\nrealertime_duplicates_total 0\n")
        }
        #expect(CounterChecks.growth(from: memberCounts(0), to: memberCounts(28)).outcome == .ok)
        #expect(CounterChecks.growth(from: memberCounts(0), to: memberCounts(27)).outcome == .fail)
    }

    @Test func aSmallClockDifferenceIsAccepted() throws {
        let status = try NodeStatus(json: Array(StatusTests.json.utf8))
        let there = try Date("2026-01-01T01:02:00Z", strategy: .iso8601)
        #expect(StatusChecks.clock(status, now: there).outcome == .ok)
        #expect(StatusChecks.clock(status, now: there + 4).outcome == .ok)
        #expect(StatusChecks.clock(status, now: there + 60).detail == "the node's clock is 1m 0s behind the clock of this machine")
        #expect(StatusChecks.clock(status, now: there - 60).detail == "the node's clock is 1m 0s ahead of the clock of this machine")
    }

    @Test func connectionsNearTheLimitAreReported() throws {
        var status = try NodeStatus(json: Array(StatusTests.json.utf8))
        #expect(StatusChecks.connections(status).outcome == .ok)
        status.subscribers.connections = 16_000
        #expect(StatusChecks.connections(status).outcome == .warn)
        status.subscribers.connections = 19_000
        #expect(StatusChecks.connections(status).outcome == .fail)
        #expect(StatusChecks.health(status).outcome == .warn)
    }

    @Test func aLinkWithoutItsDataConnectionIsReported() throws {
        var status = try NodeStatus(json: Array(StatusTests.json.utf8))
        #expect(StatusChecks.dataConnections(status) == nil)
        func link(_ peer: String, isDataUp: Bool?, milliseconds: Int = 6000) -> NodeMembership.Link {
            NodeMembership.Link(
                peer: peer, incarnation: 1, direction: "outgoing", address: nil, isUp: true, isDataUp: isDataUp, milliseconds: milliseconds, lastLoss: nil,
                roundTripMicroseconds: nil, queuedBytes: 0, dropped: 0)
        }
        func check(_ links: [NodeMembership.Link]) -> Check? {
            status.cluster = NodeMembership(
                name: "c", session: "connected", incarnation: 1, viewVersion: 1, controller: nil, partitions: [], alarm: nil, links: links)
            return StatusChecks.dataConnections(status)
        }
        #expect(check([link("n2", isDataUp: true)])?.outcome == .ok)
        #expect(check([link("n2", isDataUp: true), link("n3", isDataUp: false)])?.detail == "the link is up but the data connection is not: to n3")
        #expect(check([link("n2", isDataUp: false)])?.outcome == .fail)
        // An older node does not report the data connection, and a new link may get it a moment later.
        #expect(check([link("n2", isDataUp: nil), link("n3", isDataUp: false, milliseconds: 100)]) == nil)
    }

    @Test func localLimitsAreRead() {
        let text =
            "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \n"
        #expect(LocalChecks.openFilesMax(text) == 1024)
        #expect(LocalChecks.openFilesMax("Max open files            unlimited            unlimited            files") == .max)
        #expect(LocalChecks.openFilesMax("") == nil)
        #expect(LocalChecks.disk("/x", free: 1 << 20, of: 1 << 40).outcome == .fail)
        #expect(LocalChecks.disk("/x", free: 1 << 29, of: 1 << 40).outcome == .warn)
        #expect(LocalChecks.disk("/x", free: 1 << 31, of: 1 << 40).outcome == .ok)
    }

    @Test func theDiagnosisIsTheWorstResult() {
        let ok = Check.ok("a", "b")
        let warn = Check.warn("a", "b", do: "c")
        let fail = Check.fail("a", "b", do: "c")
        #expect(Diagnosis([ok, .skip("a", "b")], wasReached: true).exitStatus == .ok)
        #expect(Diagnosis([ok, warn], wasReached: true).exitStatus == .degraded)
        #expect(Diagnosis([fail, warn], wasReached: true).exitStatus == .critical)
        #expect(Diagnosis([fail], wasReached: false).exitStatus == .unreachable)
    }

    @Test func rowsContainAdvice() {
        let plain = Terminal(descriptor: 1, isInteractive: false, noColour: nil, kind: nil)
        #expect(DoctorCommand.row(.ok("api", "fine"), on: plain) == "ok    api                fine")
        #expect(DoctorCommand.row(.warn("disk", "full", do: "Make room."), on: plain) == "warn  disk               full\n                         → Make room.")
    }

    @Test func aNarrowTerminalShowsDetailsOnSeparateLines() {
        let check = Check.warn("subscriber port", "one two three four", do: "Make room.")
        #expect(
            DoctorCommand.row(check, on: LayoutTests.terminal(20))
                == "warn  subscriber\n      port\n      one two three\n      four\n      → Make room.")
        #expect(DoctorCommand.row(check, on: LayoutTests.terminal(40)) == "warn  subscriber port\n      one two three four\n      → Make room.")
        #expect(
            DoctorCommand.row(check, on: LayoutTests.terminal(80))
                == "warn  subscriber port    one two three four\n                         → Make room.")
        let diagnosis = Diagnosis([check], wasReached: true)
        #expect(DoctorCommand.summary(diagnosis, on: LayoutTests.terminal(80)) == "\ndegraded: 0 ok, 1 warning, 0 failed, 0 skipped")
        #expect(DoctorCommand.summary(diagnosis, on: LayoutTests.terminal(20)) == "\ndegraded: 0 ok, 1\nwarning, 0 failed, 0\nskipped")
    }
}
