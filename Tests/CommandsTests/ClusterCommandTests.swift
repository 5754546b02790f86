import AdminAPI
import ArgumentParser
import Foundation
import Synchronization
import TestKit
import Testing

@testable import Commands

/// Complete commands against a fake node with given responses, checked by exit status and requests.
@Suite struct ClusterCommandTests {
    private static let served = "{\"partition\":108,\"owner\":\"n2\",\"owner_epoch\":3,\"state\":\"served\"}"

    /// The exit status of a command.
    private func run(_ type: any AsyncParsableCommand.Type, _ arguments: [String], at node: FakeNode, timeout: String = "5") async throws -> Int32 {
        var command = try type.parseAsRoot(arguments + ["--api", node.url, "--timeout", timeout])
        do {
            if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
            return 0
        } catch let code as ExitCode {
            return code.rawValue
        }
    }

    private func expect(
        _ status: Int32, _ type: any AsyncParsableCommand.Type, _ arguments: [String], at node: FakeNode, timeout: String = "5",
        location: SourceLocation = #_sourceLocation
    ) async throws {
        let ended = try await self.run(type, arguments, at: node, timeout: timeout)
        #expect(ended == status, "\(type) \(arguments)", sourceLocation: location)
    }

    private static func response(_ request: FakeNode.Request) -> FakeNode.Reply {
        switch (request.method, request.path) {
        case ("GET", "/api/cluster"): .response(200, ClusterSamples.overview())
        case ("GET", "/api/members"):
            .response(200, ClusterSamples.members(ClusterSamples.member("n1", state: "drained", desired: "draining", owned: 0), ClusterSamples.member("n2")))
        case ("GET", "/api/partitions"): .response(200, ClusterSamples.partitions(Self.served))
        case ("GET", "/api/locate"): .response(200, ClusterSamples.partitions(Self.served, channel: "a"))
        case ("GET", "/api/plan"): .response(200, ClusterSamples.plan())
        case ("GET", "/api/events"): .response(200, ClusterSamples.events("n3", [(1, at: 1)]))
        case ("POST", _): .response(200, "{\"result\":\"done\",\"through\":\"n3\"}")
        default: .response(404, "{\"error\":{\"code\":\"not_found\",\"message\":\"nothing is at \(request.path)\"}}")
        }
    }

    private static let reports: [([String], any AsyncParsableCommand.Type)] = [
        ([], MembersCommand.self), ([], PartitionsCommand.self), (["a"], LocateCommand.self), ([], PlanCommand.self), ([], EventsCommand.self),
        (["--dry-run"], RebalanceCommand.self),
    ]

    private static let changes: [([String], any AsyncParsableCommand.Type, path: String, body: String)] = [
        (["n1"], DrainCommand.self, "/api/drain", "{\"node\":\"n1\",\"by\":\"ann\"}"),
        (["n1"], UndrainCommand.self, "/api/undrain", "{\"node\":\"n1\",\"by\":\"ann\"}"),
        (["n1", "--note", "it's \"slow\""], CordonCommand.self, "/api/cordon", "{\"node\":\"n1\",\"by\":\"ann\",\"note\":\"it's \\\"slow\\\"\"}"),
        (["n1"], UncordonCommand.self, "/api/uncordon", "{\"node\":\"n1\",\"by\":\"ann\"}"),
        (["n1"], ForgetCommand.self, "/api/forget", "{\"node\":\"n1\",\"by\":\"ann\"}"),
        (["108", "--to", "n2"], MoveCommand.self, "/api/move", "{\"partition\":108,\"node\":\"n2\",\"by\":\"ann\"}"),
        (["108", "--unpin"], MoveCommand.self, "/api/unpin", "{\"partition\":108,\"by\":\"ann\"}"),
        ([], RebalanceCommand.self, "/api/rebalance", "{\"by\":\"ann\"}"),
        (["pause"], RebalanceCommand.self, "/api/rebalance/pause", "{\"by\":\"ann\"}"),
        (["resume"], RebalanceCommand.self, "/api/rebalance/resume", "{\"by\":\"ann\"}"),
    ]

    @Test func everyReportSucceedsOnAHealthyCluster() async throws {
        try await FakeNode.run(Self.response) { node in
            for (arguments, type) in Self.reports {
                for output in ["table", "json"] {
                    try await self.expect(0, type, arguments + ["-o", output], at: node)
                }
            }
            #expect(node.requests.allSatisfy { $0.method == "GET" })
        }
    }

    @Test func everyChangeSendsOneRequestWaitsAndSucceeds() async throws {
        for (arguments, type, path, body) in Self.changes {
            try await FakeNode.run(Self.response) { node in
                try await self.expect(0, type, arguments + ["--by", "ann"], at: node)
                let posts = node.requests.filter { $0.method == "POST" }
                #expect(posts.map(\.path) == [path] && posts.map(\.body) == [body], "\(posts)")
            }
        }
    }

    @Test func withoutWaitingNothingIsFetched() async throws {
        try await FakeNode.run(Self.response) { node in
            try await self.expect(0, DrainCommand.self, ["n1", "--no-wait"], at: node)
            try await self.expect(0, MoveCommand.self, ["108", "--to", "n2", "--no-wait"], at: node)
            #expect(node.requests.allSatisfy { $0.method == "POST" })
        }
    }

    @Test func aDrainThatTakesTooLongIsDegraded() async throws {
        try await FakeNode.run { request in
            request.path == "/api/members"
                ? .response(200, ClusterSamples.members(ClusterSamples.member("n1", state: "draining", desired: "draining"), ClusterSamples.member("n2")))
                : Self.response(request)
        } _: { node in
            try await self.expect(1, DrainCommand.self, ["n1", "--within", "0.3"], at: node)
        }
    }

    @Test func refusalsAreCritical() async throws {
        let refusal = "{\"error\":{\"code\":\"conflict\",\"message\":\"this node is alone\"}}"
        try await FakeNode.run {
            $0.method == "POST" ? .response(409, refusal) : Self.response($0)
        } _: { node in
            for (arguments, type, _, _) in Self.changes { try await self.expect(2, type, arguments, at: node) }
        }
        try await FakeNode.run { _ in
            .response(503, "{\"error\":{\"code\":\"no_controller\",\"message\":\"no controller\"}}")
        } _: { node in
            for (arguments, type) in Self.reports { try await self.expect(2, type, arguments, at: node) }
        }
    }

    @Test func theExitStatusFollowsTheReport() async throws {
        let degraded = ClusterSamples.members(ClusterSamples.member("n1", state: "down"))
        try await FakeNode.run { _ in
            .response(200, degraded)
        } _: { node in
            try await self.expect(1, MembersCommand.self, [], at: node)
        }
        let orphan = ClusterSamples.partitions("{\"partition\":5,\"owner_epoch\":2,\"state\":\"orphan\"}")
        try await FakeNode.run { _ in
            .response(200, orphan)
        } _: { node in
            try await self.expect(2, PartitionsCommand.self, ["-o", "json"], at: node)
            try await self.expect(2, LocateCommand.self, ["a"], at: node)
            #expect(node.requests.last?.uri == "/api/locate?channel=a")
        }
    }

    @Test func statusUsesTheHealthOfTheNodeAndItsCluster() async throws {
        let healthy = StatusTests.json.replacing("degraded", with: "healthy")
        func status(_ cluster: FakeNode.Reply) async throws -> Int32 {
            try await FakeNode.run {
                $0.path == "/api/status" ? .response(200, healthy) : cluster
            } _: {
                try await self.run(StatusCommand.self, [], at: $0)
            }
        }
        #expect(try await status(.response(200, ClusterSamples.overview())) == 0)
        #expect(try await status(.response(200, ClusterSamples.overview(zookeeper: "null", health: "critical"))) == 0)
        #expect(try await status(.response(200, ClusterSamples.overview(health: "degraded"))) == 1)
        #expect(try await status(.response(200, ClusterSamples.overview(health: "critical"))) == 2)
        #expect(try await status(.response(404, "")) == 0)
        #expect(try await status(.response(504, "{\"error\":{\"code\":\"timeout\",\"message\":\"the controller does not respond\"}}")) == 2)
    }

    @Test func anUnreachableNodeHasItsExitStatus() async throws {
        try await FakeNode.run { _ in
            .hangUp
        } _: { node in
            for (arguments, type) in Self.reports { try await self.expect(3, type, arguments, at: node) }
            for (arguments, type, _, _) in Self.changes { try await self.expect(3, type, arguments, at: node) }
        }
    }

    /// The node never responds: the test checks that each command ends.
    @Test func everyCommandEndsAtItsTimeout() async throws {
        try await FakeNode.run { _ in
            .silence
        } _: { node in
            for (arguments, type) in Self.reports + [([], StatusCommand.self)] {
                try await self.expect(3, type, arguments, at: node, timeout: "0.2")
            }
        }
    }

    /// Reads and changes go to the first node that can be reached.
    @Test func theFirstReachableNodeIsUsed() async throws {
        try await FakeNode.run(Self.response) { node in
            let list = "127.0.0.1:1,\(node.url)"
            for (arguments, type) in Self.reports + [([], StatusCommand.self)] {
                var command = try type.parseAsRoot(arguments + ["--api", list])
                // The fake has no /api/status. The request itself is enough.
                do {
                    if var asynchronous = command as? any AsyncParsableCommand { try await asynchronous.run() } else { try command.run() }
                } catch let code as ExitCode {
                    #expect(type == StatusCommand.self && code.rawValue == 2, "\(type): \(code.rawValue)")
                }
            }
            let command = try DrainCommand.parse(["n1", "--no-wait", "--api", list])
            try await command.run()
            #expect(node.requests.filter { $0.method == "POST" }.map(\.path) == ["/api/drain"])
        }
    }

    /// If a node may have received a change, the change is not sent to another node.
    @Test func aChangeIsNotSentTwice() async throws {
        try await FakeNode.run { _ in
            .hangUp
        } _: { first in
            try await FakeNode.run(Self.response) { second in
                let command = try DrainCommand.parse(["n1", "--no-wait", "--api", "\(first.url),\(second.url)"])
                let code = await #expect(throws: ExitCode.self) { try await command.run() }
                #expect(code?.rawValue == 3 && second.requests.isEmpty)
                let members = try MembersCommand.parse(["--api", "\(first.url),\(second.url)"])
                try await members.run()
                #expect(second.requests.map(\.path) == ["/api/members"])
            }
        }
    }

    /// The node is like a machine that is switched off: it refuses no connect, and it cannot have received a request.
    @Test func aNodeThatDoesNotAcceptIsSkipped() async throws {
        try await FakeNode.run(Self.response) { node in
            try await SilentListener.run { url in
                let command = try DrainCommand.parse(["n1", "--no-wait", "--api", "\(url),\(node.url)", "--timeout", "4"])
                try await command.run()
                let members = try MembersCommand.parse(["--api", "\(url),\(node.url)", "--timeout", "4"])
                try await members.run()
                #expect(node.requests.map(\.path) == ["/api/drain", "/api/members"])
            }
        }
        #expect(Connecting.timeout(within: .seconds(4), nodes: 2) == .milliseconds(1600))
        #expect(Connecting.timeout(within: .seconds(60)) == .seconds(8) && Connecting.timeout(within: .seconds(2)) == .milliseconds(1600))
    }

    @Test func allUnreachableNodesAreNamed() async throws {
        try await withHTTPClient { http in
            func failure(_ urls: String) async throws -> CommandError? {
                let bases = try AnyNodeOptions.parse(["--api", urls]).bases()
                var node = NodeClient(any: bases, token: nil, http: http, timeout: .seconds(5))
                node.notices = Terminal(descriptor: open("/dev/null", O_WRONLY), isInteractive: false, noColour: nil, kind: nil)
                defer { close(node.notices.descriptor) }
                return await #expect(throws: CommandError.self) { _ = try await node.get("/") }
            }
            let one = try await failure("127.0.0.1:1")
            #expect(one?.message.contains("Any other node of the cluster can be used: --api accepts several") == true)
            let two = try await failure("127.0.0.1:1, http://localhost:1")
            #expect(two?.status == .unreachable && two?.message.hasPrefix("Cannot reach any of http://127.0.0.1:1, http://localhost:1: ") == true)
        }
    }

    @Test func eventsOfAnUnknownNodeListTheNodes() async throws {
        try await FakeNode.run(Self.response) { node in
            try await self.expect(2, EventsCommand.self, ["--node", "n7"], at: node)
            try await self.expect(0, EventsCommand.self, ["--node", "n2"], at: node)
        }
        // The events of a forgotten node can still be shown.
        try await FakeNode.run {
            $0.path == "/api/events"
                ? .response(200, ClusterSamples.events("n3", [(1, at: 1)]).replacing("12 partitions", with: "n7 was forgotten")) : Self.response($0)
        } _: { node in
            try await self.expect(0, EventsCommand.self, ["--node", "n7"], at: node)
        }
    }

    @Test func aRebalancePrintsOneObject() {
        #expect(RebalanceCommand.RunCommand.object("{\"result\":\"rebalance\"}", plan: "{\"moves\":3}") == "{\"result\":\"rebalance\",\"plan\":{\"moves\":3}}")
    }

    @Test func wrongUsageIsRefused() {
        #expect(throws: (any Error).self) { try MoveCommand.parse(["3"]) }
        #expect(throws: (any Error).self) { try MoveCommand.parse(["3", "--to", "n1", "--unpin"]) }
        #expect(throws: (any Error).self) { try MoveCommand.parse(["x", "--to", "n1"]) }
        #expect(throws: (any Error).self) { try DrainCommand.parse([]) }
        #expect(throws: (any Error).self) { try PartitionsCommand.parse(["--state", "well"]) }
        #expect(throws: (any Error).self) { try PartitionsCommand.parse(["-o", "json", "--node", "n1"]) }
        #expect(throws: (any Error).self) { try EventsCommand.parse(["--after", "-1"]) }
        #expect(throws: (any Error).self) { try MembersCommand.parse(["--timeout", "0"]) }
        #expect(throws: (any Error).self) { try MembersCommand.parse(["--api", "non sense"]) }
    }
}

/// A listener that accepts nothing, and whose backlog is full: the system drops further connections.
private enum SilentListener {
    static func run(_ body: (String) async throws -> Void) async throws {
        let listener = LoopbackSocket.listening(backlog: 0)
        let connections = (0..<4).map { _ in LoopbackSocket.connecting(to: listener.port) }
        defer { withExtendedLifetime(connections) {} }
        try await body("http://127.0.0.1:\(listener.port)")
    }
}
