import Testing

@testable import Commands

@Suite struct ClusterDeliveryTests {
    private var complete: ClusterDelivery.Progress {
        var progress = ClusterDelivery.Progress(nodes: ["n1", "n2"])
        progress.subscribed = ["n1", "n2"]
        progress.published = ["n1", "n2"]
        progress.received = ["n1": ["n1", "n2"], "n2": ["n1", "n2"]]
        return progress
    }

    @Test func everyEventHasArrived() {
        let check = self.complete.check(milliseconds: "3 ms")
        #expect(self.complete.isComplete)
        #expect(check.outcome == .ok && check.detail == "an event published at each of 2 nodes arrived at all of them within 3 ms")
    }

    @Test func aMissingEventIsNamed() {
        var progress = self.complete
        progress.received["n2"] = ["n2"]
        #expect(!progress.isComplete)
        let check = progress.check(milliseconds: "")
        #expect(check.outcome == .fail && check.detail == "an event published at n1 did not arrive in time at n2")
    }

    @Test func aRefusedPublishAndAnEndedSubscriptionAreNamed() {
        var progress = self.complete
        progress.published = ["n2"]
        progress.refused["n1"] = "503"
        progress.ended["n2"] = "closed"
        #expect(progress.isComplete)
        let check = progress.check(milliseconds: "")
        #expect(check.outcome == .fail && check.detail == "a publish at n1 failed: 503; a subscription at n2 ended: closed")
        progress.subscribed = ["n2"]
        #expect(progress.check(milliseconds: "").detail.contains("a subscription at n1 got no cursor in time"))
    }

    @Test func withFewerThanTwoNodesThereIsNoResult() {
        var progress = ClusterDelivery.Progress(nodes: ["n1"])
        progress.unreachable = ["n2": "refused"]
        let check = progress.check(milliseconds: "")
        #expect(check.outcome == .skip && check.detail.hasSuffix("(n2: refused)"))
    }

    @Test func anUnreachableNodeIsNamedBesideTheResult() {
        var progress = self.complete
        progress.unreachable = ["n3": "refused"]
        let check = progress.check(milliseconds: "3 ms")
        #expect(check.outcome == .ok && check.detail.hasSuffix("; this machine cannot reach n3: refused"))
    }
}
