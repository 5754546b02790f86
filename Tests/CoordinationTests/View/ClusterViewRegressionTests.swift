import Testing

@testable import Coordination

@Suite struct ClusterViewRegressionTests {
    private let seen = ClusterView(
        version: 10, controllerEpoch: 3, writer: "n1/1/1", nodes: [.init(id: "n1", state: .active), .init(id: "n2", state: .active)],
        partitions: [.init(owner: "n1", ownerEpoch: 5), .init(owner: "n2", ownerEpoch: 7), .init(owner: nil, ownerEpoch: 2)])

    private func regression(_ change: (inout ClusterView) -> Void) -> ClusterView.Regression? {
        var candidate = self.seen
        candidate.version += 1
        change(&candidate)
        return self.seen.regression(in: candidate)
    }

    @Test func acceptsViewsThatOnlyAdvance() {
        #expect(self.seen.regression(in: self.seen) == nil)
        #expect(self.regression { _ in } == nil)
        #expect(self.regression { $0.grant(0, to: "n2") } == nil)
        #expect(self.regression { $0.grant(2, to: "n1") } == nil)
        #expect(self.regression { $0.orphan(ownedBy: "n1") } == nil)
        #expect(self.regression { $0.controllerEpoch += 1 } == nil)
    }

    @Test func refusesViewsThatGoBack() {
        #expect(self.regression { $0.version = 9 } == .version(seen: 10, candidate: 9))
        #expect(
            self.regression {
                $0.version = 10; $0.mode = .guarded
            } == .divergence(version: 10))
        #expect(self.regression { $0.controllerEpoch = 2 } == .controllerEpoch(seen: 3, candidate: 2))
        #expect(self.regression { $0.partitions.removeLast() } == .partitionCount(seen: 3, candidate: 2))
        #expect(self.regression { $0.partitions[1].ownerEpoch = 6 } == .ownerEpoch(partition: 1, seen: 7, candidate: 6))
        #expect(self.regression { $0.partitions[0].owner = "n2" } == .grant(partition: 0, ownerEpoch: 5, seen: "n1", candidate: "n2"))
        #expect(self.regression { $0.partitions[2].owner = "n1" } == .grant(partition: 2, ownerEpoch: 2, seen: nil, candidate: "n1"))
        #expect(self.regression { $0.version = 9 }?.description == "the view went back from version 10 to 9")
        #expect(self.regression { $0.partitions[1].ownerEpoch = 6 }?.description == "the owner epoch of partition 1 went back from 7 to 6")
        #expect(
            self.regression { $0.partitions[2].owner = "n1" }?.description == "partition 2 went from no owner to n1 without a new owner epoch (2)")
    }

    @Test func orphaningCancelsMovesFromAndToTheNode() {
        var view = self.seen
        view.partitions[0].move = .init(id: 1, to: "n2", reason: .balance)
        view.partitions[1].move = .init(id: 2, to: "n1", reason: .balance)
        #expect(view.orphan(ownedBy: "n1") == [0])
        #expect(view.moving == [])
        #expect(view.orphans == [0, 2])
        #expect(view.partitions(ownedBy: "n2") == [1])
    }

    @Test func nodesStayInOrder() {
        var view = self.seen
        view.upsert(.init(id: "n15", state: .joining))
        view.upsert(.init(id: "n9", state: .joining))
        view.upsert(.init(id: "n2", state: .down))
        view.upsert(.init(id: "a", state: .down))
        #expect(view.nodes.map(\.id) == ["a", "n1", "n15", "n2", "n9"])
        #expect(view.node("n2")?.state == .down)
    }
}
