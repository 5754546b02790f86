import AdminAPI
import Testing

@testable import Coordination

/// A node that was forgotten stays so, and one that comes under its name is a new one.
@Suite struct ClusterMachineForgottenTests {
    private static let path = "/rt/c/nodes/n5"

    private func view(_ stand: ClusterMachineStand, _ version: Int64, ownerEpoch: Int64, n5: NodeRecord?? = nil) -> ClusterView {
        stand.view(version, Array(repeating: "n2", count: 4), ownerEpochs: Array(repeating: ownerEpoch, count: 4)) { view in
            guard let n5 else { return }
            var node = ClusterView.Node(id: "n5", state: .down)
            node.desired = n5
            view.nodes.append(node)
        }
    }

    /// `n1`, which has refused a view by which something was requested of `n5`.
    private func refusing(_ desired: NodeRecord.Desired, isKnown: Bool = true) -> ClusterMachineStand {
        var stand = ClusterMachineStand.follower()
        stand.publish(self.view(stand, 2, ownerEpoch: 3, n5: isKnown ? .some(nil) : nil))
        stand.publish(self.view(stand, 3, ownerEpoch: 2, n5: NodeRecord(desired: desired, note: "disk", by: "alice", revision: 3)))
        #expect(stand.machine.view?.version == 2 && stand.machine.register.lostDesired["n5"]?.desired == desired)
        return stand
    }

    /// The other node is gone, and `n1` is the controller.
    private func elect(_ stand: inout ClusterMachineStand) {
        stand.forget()
        stand.store.end(200)
        stand.advance(.seconds(20))
        #expect(stand.machine.isController)
    }

    private func lost(_ stand: ClusterMachineStand) -> [String] {
        stand.machine.history.events.map(\.text).filter { $0.contains("lost what operators had requested") }
    }

    @Test(arguments: [NodeRecord.Desired.cordoned, .removed]) func whatWasRequestedOfANodeThatWasForgottenStaysForgotten(_ desired: NodeRecord.Desired) {
        var stand = self.refusing(desired)
        stand.publish(self.view(stand, 4, ownerEpoch: 3, n5: .some(nil)))
        stand.publish(self.view(stand, 5, ownerEpoch: 3))
        #expect(stand.machine.view?.version == 5)
        self.elect(&stand)
        #expect(stand.store.tree[Self.path] == nil && stand.machine.view?.node("n5") == nil && self.lost(stand) == [])
        #expect(!stand.requests.contains { "\($0)".contains(Self.path) })
    }

    @Test(arguments: [true, false]) func whatWasLostIsWrittenAgainOfANodeThatThereIs(_ isKnown: Bool) throws {
        var stand = self.refusing(.cordoned, isKnown: isKnown)
        if isKnown { stand.publish(self.view(stand, 4, ownerEpoch: 3, n5: .some(nil))) }
        self.elect(&stand)
        let record = try NodeRecord(json: try #require(stand.store.tree[Self.path]).data)
        #expect(record.desired == .cordoned && record.note == "disk" && record.by == "alice" && record.revision == 3)
        #expect(stand.machine.view?.node("n5")?.desired?.desired == .cordoned && self.lost(stand).count == 1)
        // Then it may be forgotten as any other.
        #expect(stand.ask(AdminRequest(.forget, node: "n5"))?.isSuccess == true)
        stand.advance(.seconds(60))
        #expect(stand.store.tree[Self.path] == nil && stand.machine.view?.node("n5") == nil && self.lost(stand).count == 1)
    }

    @Test func aNodeThatJoinsWhileItsEntryIsRemovedIsANewOne() {
        var stand = ClusterMachineStand.controller(of: 3)
        stand.vanish("n3")
        stand.handle(.request(number: 1, AdminRequest(.forget, node: "n3")))
        stand.settle {
            if case .multi(let parts) = $0, case .delete("/rt/c/nodes/n3", _)? = parts.last { true } else { false }
        }
        guard let (token, request) = stand.open.first else { return recordMissing("no removal") }
        stand.close(token)
        #expect(stand.state("n3") == nil)
        stand.arrive("n3")
        // By what this controller has read last.
        #expect(stand.machine.view?.node("n3")?.desired?.desired == .removed)
        stand.handle(.answered(token: token, stand.store.apply(request, session: stand.session)))
        stand.balance()
        #expect(stand.state("n3") == .active && stand.count("n3") > 0 && stand.store.tree["/rt/c/nodes/n3"] == nil && self.lost(stand) == [])
    }
}
