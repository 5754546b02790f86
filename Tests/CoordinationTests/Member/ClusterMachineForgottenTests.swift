import AdminAPI
import Testing

@testable import Coordination

/// A forgotten node stays forgotten. A node that joins with the same id later is a new node.
@Suite struct ClusterMachineForgottenTests {
    private static let path = "/rt/c/nodes/n5"

    private func view(_ bench: ClusterMachineBench, _ version: Int64, ownerEpoch: Int64, n5: NodeRecord?? = nil) -> ClusterView {
        bench.view(version, Array(repeating: "n2", count: 4), ownerEpochs: Array(repeating: ownerEpoch, count: 4)) { view in
            guard let n5 else { return }
            var node = ClusterView.Node(id: "n5", state: .down)
            node.desired = n5
            view.nodes.append(node)
        }
    }

    /// `n1`, after it has refused a view that contains a desired state for `n5`.
    private func refusing(_ desired: NodeRecord.Desired, isKnown: Bool = true) -> ClusterMachineBench {
        var bench = ClusterMachineBench.follower()
        bench.publish(self.view(bench, 2, ownerEpoch: 3, n5: isKnown ? .some(nil) : nil))
        bench.publish(self.view(bench, 3, ownerEpoch: 2, n5: NodeRecord(desired: desired, note: "disk", by: "alice", revision: 3)))
        #expect(bench.machine.view?.version == 2 && bench.machine.register.lostDesired["n5"]?.desired == desired)
        return bench
    }

    /// Ends the session of `n2`, so that `n1` becomes the controller.
    private func elect(_ bench: inout ClusterMachineBench) {
        bench.forget()
        bench.store.end(200)
        bench.advance(.seconds(20))
        #expect(bench.machine.isController)
    }

    private func lost(_ bench: ClusterMachineBench) -> [String] {
        bench.machine.history.events.map(\.text).filter { $0.contains("lost operators' requests") }
    }

    @Test(arguments: [NodeRecord.Desired.cordoned, .removed]) func theDesiredStateOfAForgottenNodeStaysForgotten(_ desired: NodeRecord.Desired) {
        var bench = self.refusing(desired)
        bench.publish(self.view(bench, 4, ownerEpoch: 3, n5: .some(nil)))
        bench.publish(self.view(bench, 5, ownerEpoch: 3))
        #expect(bench.machine.view?.version == 5)
        self.elect(&bench)
        #expect(bench.store.tree[Self.path] == nil && bench.machine.view?.node("n5") == nil && self.lost(bench) == [])
        #expect(!bench.requests.contains { "\($0)".contains(Self.path) })
    }

    @Test(arguments: [true, false]) func theLostDesiredStateOfAnExistingNodeIsWrittenAgain(_ isKnown: Bool) throws {
        var bench = self.refusing(.cordoned, isKnown: isKnown)
        if isKnown { bench.publish(self.view(bench, 4, ownerEpoch: 3, n5: .some(nil))) }
        self.elect(&bench)
        let record = try NodeRecord(json: try #require(bench.store.tree[Self.path]).data)
        #expect(record.desired == .cordoned && record.note == "disk" && record.by == "alice" && record.revision == 3)
        #expect(bench.machine.view?.node("n5")?.desired?.desired == .cordoned && self.lost(bench).count == 1)
        // Then the node can be forgotten like any other node.
        #expect(bench.request(AdminRequest(.forget, node: "n5"))?.isSuccess == true)
        bench.advance(.seconds(60))
        #expect(bench.store.tree[Self.path] == nil && bench.machine.view?.node("n5") == nil && self.lost(bench).count == 1)
    }

    @Test func aNodeThatJoinsWhileItsEntryIsRemovedIsANewNode() {
        var bench = ClusterMachineBench.controller(of: 3)
        bench.vanish("n3")
        bench.handle(.request(number: 1, AdminRequest(.forget, node: "n3")))
        bench.settle {
            if case .multi(let parts) = $0, case .delete("/rt/c/nodes/n3", _)? = parts.last { true } else { false }
        }
        guard let (token, request) = bench.open.first else { return recordMissing("no removal") }
        bench.close(token)
        #expect(bench.state("n3") == nil)
        bench.arrive("n3")
        // The controller still has the old record, because it has not read the removal yet.
        #expect(bench.machine.view?.node("n3")?.desired?.desired == .removed)
        bench.handle(.replied(token: token, bench.store.apply(request, session: bench.session)))
        bench.balance()
        #expect(bench.state("n3") == .active && bench.count("n3") > 0 && bench.store.tree["/rt/c/nodes/n3"] == nil && self.lost(bench) == [])
    }
}
