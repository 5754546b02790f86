import AdminAPI
import Foundation
import Synchronization
import Testing

@testable import Commands

@Suite struct WaitingTests {
    /// Runs `body` with a terminal, and returns what was written to it.
    private func written(isInteractive: Bool = false, _ body: (Terminal) async throws -> Void) async rethrows -> String {
        let pipe = Pipe()
        try await body(
            Terminal(descriptor: pipe.fileHandleForWriting.fileDescriptor, isInteractive: isInteractive, noColour: "1", kind: nil))
        pipe.fileHandleForWriting.closeFile()
        return String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    }

    private func waiter(_ terminal: Terminal, limit: Duration? = .seconds(30)) -> Waiter {
        Waiter(
            what: "the drain of n1", later: "realertime members", limit: limit, terminal: terminal, responseGrace: .milliseconds(50), interval: .milliseconds(1)
        )
    }

    @Test func progressShowsTheRateAndWhetherItIsStuck() {
        var progress = WaitProgress()
        let start = ContinuousClock.now
        progress.note(left: 100, moving: 8, at: start)
        #expect(progress.text == "100 left, 8 in flight" && !progress.isStuck(at: start))
        progress.note(left: 80, moving: 8, at: start + .seconds(5))
        #expect(progress.text == "80 left, 8 in flight, 4.0/s, about 20s remaining")
        progress.note(left: 80, moving: 8, at: start + .seconds(14))
        #expect(!progress.isStuck(at: start + .seconds(14)))
        progress.note(left: 80, moving: 8, at: start + .seconds(16))
        #expect(progress.isStuck(at: start + .seconds(16)))
        progress.note(left: 80, moving: 7, at: start + .seconds(17))
        #expect(!progress.isStuck(at: start + .seconds(17)))
    }

    @Test func obstaclesAreListed() throws {
        let moving = "{\"partition\":4,\"owner\":\"n2\",\"owner_epoch\":9,\"state\":\"moving\",\"moving_to\":\"n5\",\"reason\":\"drain\"}"
        let other = "{\"partition\":5,\"owner\":\"n3\",\"owner_epoch\":9,\"state\":\"moving\",\"moving_to\":\"n5\",\"reason\":\"drain\"}"
        let found = Obstacles.find(
            try ClusterOverview(ClusterSamples.overview(ClusterSamples.head(mode: "guarded"), active: 0, reasons: "\"n5 cannot reach n2.\"")),
            try ClusterPlan(ClusterSamples.plan(refusals: "\"no active node with a weight may own anything\"")),
            try ClusterPartitions(ClusterSamples.partitions(moving, other)), of: "n2")
        #expect(found.count == 5 && found.contains("moving from n2 to n5: partition 4; see the logs of both nodes") && found.last == "n5 cannot reach n2.")
    }

    @Test func waitsUntilTheOperationIsDone() async throws {
        let steps = Mutex([Waiter.Step.inProgress(left: 2, moving: 1), .inProgress(left: 1, moving: 1), .done("n1 owns nothing", .ok)])
        let text = try await self.written { terminal in
            let status = try await self.waiter(terminal).wait {
                steps.withLock { $0.removeFirst() }
            } obstacles: {
                []
            }
            #expect(status == .ok)
        }
        #expect(text == "the drain of n1: 2 left, 1 in flight\nn1 owns nothing\n")
    }

    @Test func showsProgressInPlaceOnATerminal() async throws {
        let steps = Mutex([Waiter.Step.inProgress(left: 2, moving: 1), .done("n1 owns nothing", .ok)])
        let text = try await self.written(isInteractive: true) { terminal in
            _ = try await self.waiter(terminal).wait {
                steps.withLock { $0.removeFirst() }
            } obstacles: {
                []
            }
        }
        #expect(text == "\r\u{1B}[Kthe drain of n1: 2 left, 1 in flight\r\u{1B}[Kn1 owns nothing\n")
    }

    @Test func aLimitEndsOnlyTheWait() async throws {
        let text = await self.written { terminal in
            let failure = await #expect(throws: CommandError.self) {
                try await self.waiter(terminal, limit: .milliseconds(50)).wait {
                    .inProgress(left: 1, moving: 0)
                } obstacles: {
                    ["no node is active"]
                }
            }
            #expect(failure?.status == .degraded && failure?.message.contains("The cluster continues. realertime members shows the progress.") == true)
        }
        #expect(text.hasSuffix("  no node is active\n"), "\(text)")
    }

    @Test func anUnreachableNodeEndsTheWait() async throws {
        let calls = Mutex(0)
        let text = await self.written { terminal in
            let failure = await #expect(throws: CommandError.self) {
                try await self.waiter(terminal).wait {
                    if calls.withLock({ count in
                        count += 1; return count
                    }) == 1 {
                        return .inProgress(left: 1, moving: 0)
                    }
                    throw CommandError(.unreachable, "Cannot reach it.")
                } obstacles: {
                    []
                }
            }
            #expect(failure?.status == .unreachable && failure?.message.contains("continues without this command") == true)
        }
        #expect(text.ranges(of: "Cannot reach it.").count == 1 && calls.withLock { $0 } > 2)
    }

    @Test func eachStepOfADrainIsRecognized() async throws {
        func step(_ drain: DrainProgress, _ member: String) async throws -> Waiter.Step {
            await drain.step(try ClusterMembers(ClusterSamples.members(member, ClusterSamples.member("n2"))))
        }
        let drain = DrainProgress(node: "n1")
        // The first reports may be older than the request, so the node is still active in them.
        guard case .inProgress(341, 0) = try await step(drain, ClusterSamples.member("n1", desired: "active")) else { Issue.record("not in progress"); return }
        let draining = ClusterSamples.member("n1", state: "draining", desired: "draining", owned: 12, movingOut: 8)
        guard case .inProgress(12, 8) = try await step(drain, draining) else { Issue.record("not in progress"); return }
        guard case .done(_, .ok) = try await step(drain, ClusterSamples.member("n1", state: "drained", desired: "draining", owned: 0)) else {
            Issue.record("not done")
            return
        }
        guard case .failed = try await step(drain, ClusterSamples.member("n1", desired: "active")) else { Issue.record("not cancelled"); return }
        guard case .failed = try await step(drain, ClusterSamples.member("n9")) else { Issue.record("not failed"); return }
    }

    @Test func eachStepOfARebalanceAndAMoveIsRecognized() throws {
        func step(_ plan: String, _ overview: String) throws -> Waiter.Step {
            RebalanceCommand.RunCommand.step(try ClusterPlan(plan), try ClusterOverview(overview))
        }
        guard case .inProgress(5, 2) = try step(ClusterSamples.plan(moves: 3), ClusterSamples.overview(moving: 2)) else { Issue.record("not moving"); return }
        guard case .inProgress(1, 1) = try step(ClusterSamples.plan(), ClusterSamples.overview(preparing: 1)) else { Issue.record("not in progress"); return }
        guard case .done(_, .ok) = try step(ClusterSamples.plan(), ClusterSamples.overview()) else { Issue.record("not done"); return }
        guard case .done(let words, .degraded) = try step(ClusterSamples.plan(refusals: "\"a pin\""), ClusterSamples.overview()) else {
            Issue.record("not degraded")
            return
        }
        #expect(words.hasSuffix("a pin"))
        let moving = "{\"partition\":4,\"owner\":\"n2\",\"owner_epoch\":9,\"state\":\"moving\",\"moving_to\":\"n5\",\"reason\":\"operator\"}"
        let moved = "{\"partition\":4,\"owner\":\"n5\",\"owner_epoch\":10,\"state\":\"served\"}"
        guard case .inProgress(1, 1) = MoveCommand.step(try ClusterPartitions(ClusterSamples.partitions(moving)), 4, "n5") else {
            Issue.record("not in progress"); return
        }
        guard case .done = MoveCommand.step(try ClusterPartitions(ClusterSamples.partitions(moved)), 4, "n5") else { Issue.record("not done"); return }
        guard case .failed = MoveCommand.step(try ClusterPartitions(ClusterSamples.partitions(moved)), 5, "n5") else { Issue.record("not failed"); return }
    }
}
