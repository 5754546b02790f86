import Testing

@testable import Coordination

/// Which znodes are read after watches and replies.
@Suite struct RegistryReadsTests {
    private static let now = ContinuousClock.now
    private static let stat = ZooKeeperStat(czxid: 1, mzxid: 1, version: 0, ephemeralOwner: 0)
    private static let node = Result<ZooKeeperReply, ZooKeeperFailure>.success(.node(data: [], stat: stat))
    private static let noNode = Result<ZooKeeperReply, ZooKeeperFailure>.failure(.refused(.noNode, part: nil))

    private var reads = RegistryReads(paths: ClusterPaths(cluster: "c"), ownID: "n1", rereadInterval: .seconds(30))

    private mutating func requests(after duration: Duration = .zero) -> [ZooKeeperRequest] {
        self.reads.next(at: Self.now.advanced(by: duration)).requests.map(\.request)
    }

    private mutating func reply(_ target: RegistryReads.Target, _ result: Result<ZooKeeperReply, ZooKeeperFailure>) -> RegistryReads.Outcome {
        self.reads.replied(target, result, at: Self.now, jitter: 0)
    }

    @Test mutating func oneGetReadsTheViewAndWatchesIt() {
        self.reads.read(.view)
        #expect(self.requests() == [.get(path: "/rt/c/view", watch: true)] && !self.reads.isCurrent(.view))
        guard case .found = self.reply(.view, Self.node) else { return recordMissing("the view was not found") }
        #expect(self.reads.isCurrent(.view) && self.requests() == [])
        self.reads.markDirty(["/rt/c/view"])
        #expect(!self.reads.isCurrent(.view) && self.requests() == [.get(path: "/rt/c/view", watch: true)])
    }

    /// A `get` sets no watch if the znode does not exist.
    @Test(arguments: [RegistryReads.Target.view, .controller]) mutating func anAbsentViewOrControllerIsWatched(_ target: RegistryReads.Target) {
        let path = target == .view ? "/rt/c/view" : "/rt/c/controller"
        self.reads.read(target)
        #expect(self.requests() == [.get(path: path, watch: true)])
        guard case .watch(.exists(path, true)) = self.reply(target, Self.noNode) else { return recordMissing("no watch was set") }
        #expect(!self.reads.isCurrent(target) && self.requests() == [])
        guard case .absent = self.reply(target, .success(.stat(nil))) else { return recordMissing("the znode is not absent") }
        #expect(self.reads.isCurrent(target))
    }

    @Test mutating func aZnodeThatWasCreatedInBetweenIsRead() {
        self.reads.read(.controller)
        _ = self.requests()
        _ = self.reply(.controller, Self.noNode)
        guard case .nothing = self.reply(.controller, .success(.stat(Self.stat))) else { return recordMissing("the znode exists") }
        #expect(self.requests() == [.get(path: "/rt/c/controller", watch: true)])
    }

    @Test mutating func aMissingConfigurationIsAbsentWithoutAWatch() {
        self.reads.read(.configuration)
        _ = self.requests()
        guard case .absent = self.reply(.configuration, Self.noNode) else { return recordMissing("the znode is not absent") }
    }

    /// The watch may be about a change that the pending read did not see.
    @Test mutating func aWatchThatFiresDuringAReadCausesAnotherRead() {
        self.reads.read(.members)
        #expect(self.requests() == [.children(path: "/rt/c/members", watch: true)])
        self.reads.markDirty(["/rt/c/members/n2"])
        #expect(self.requests() == [])
        _ = self.reply(.members, .success(.children(["n2"], stat: Self.stat)))
        #expect(self.requests() == [.children(path: "/rt/c/members", watch: true)])
    }

    @Test mutating func aFailedReadIsRepeatedAfter100Milliseconds() {
        self.reads.read(.ownMember)
        _ = self.requests()
        _ = self.reply(.ownMember, .failure(.ambiguous(code: -7)))
        #expect(self.requests(after: .milliseconds(99)) == [])
        #expect(self.requests(after: .milliseconds(100)) == [.exists(path: "/rt/c/members/n1", watch: true)])
    }

    @Test mutating func everythingIsReadAgainAfterHalfAMinute() {
        self.reads.read(.view)
        _ = self.requests()
        _ = self.reply(.view, Self.node)
        #expect(self.requests(after: .seconds(29)) == [])
        #expect(self.requests(after: .seconds(30)) == [.get(path: "/rt/c/view", watch: true)])
    }

    @Test mutating func aReplyAfterTheEndOfReadingIsIgnored() {
        self.reads.read(.nodes)
        _ = self.requests()
        self.reads.end(.nodes)
        guard case .nothing = self.reply(.nodes, .success(.children([], stat: Self.stat))) else { return recordMissing("the reply was not ignored") }
        self.reads.readAgain(.nodes)
        #expect(self.requests() == [])
    }
}
