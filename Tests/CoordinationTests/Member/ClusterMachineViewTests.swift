import AdminAPI
import Partitioning
import Testing

@testable import Coordination

@Suite struct ClusterMachineViewTests {
    private static let allOfN2: [String?] = ["n2", "n2", "n2", "n2"]

    @Test func aNewerViewFromZooKeeperIsAdopted() {
        var bench = ClusterMachineBench.follower()
        let view = bench.view(5, Self.allOfN2)
        bench.publish(view)
        #expect(bench.machine.view == view)
        #expect(bench.requests == [.get(path: "/rt/c/view", watch: true)])
        // The links report this node's view version to the peers.
        guard case .peers(_, _, let version)? = bench.effects.last(where: { if case .peers = $0 { true } else { false } }) else {
            return recordMissing("no peers")
        }
        #expect(version == 5)
    }

    @Test func aNewerViewFromAPeerIsAdopted() {
        var bench = ClusterMachineBench.follower()
        let view = bench.view(5, Self.allOfN2)
        bench.receive(.view(view))
        #expect(bench.machine.view == view && bench.machine.alarm == nil)
    }

    @Test func anOlderViewFromAPeerRaisesNoAlarm() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(5, Self.allOfN2))
        bench.receive(.view(bench.view(4, ["n1", "n1", "n1", "n1"])))
        #expect(bench.machine.view?.version == 5 && bench.machine.alarm == nil && bench.seals.isEmpty)
    }

    @Test func anOlderViewFromZooKeeperIsRefusedWithAnAlarm() {
        var bench = ClusterMachineBench.follower()
        let lost = bench.store.tree["/rt/c/view"]
        bench.publish(bench.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        bench.forget()
        bench.store.rollBack("/rt/c/view", to: lost)
        bench.settle()
        #expect(bench.machine.view?.version == 5 && bench.states[0] == .serving && bench.releases.isEmpty)
        #expect(bench.events == [.alarm] && bench.machine.alarm?.contains("from version 5 to 1") == true)
        // The alarm ends ten minutes after the loss is repaired.
        bench.publish(bench.view(6, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        bench.advance(.seconds(599))
        #expect(bench.machine.alarm != nil)
        bench.advance(.seconds(2))
        #expect(bench.machine.alarm == nil && bench.machine.view?.version == 6)
    }

    /// A server that lags shows an older view for a moment. So an older view is an alarm only if the server still shows it later.
    @Test func anOlderViewInANewSessionIsAnAlarmOnlyIfItStays() {
        var bench = ClusterMachineBench.follower()
        let lost = bench.store.tree["/rt/c/view"]
        bench.publish(bench.view(5, Self.allOfN2))
        bench.lose()
        bench.store.rollBack("/rt/c/view", to: lost)
        bench.forget()
        bench.connect(session: 101)
        bench.settle()
        bench.advance(.milliseconds(900))
        #expect(bench.machine.view?.version == 5 && bench.machine.alarm == nil)
        bench.advance(.milliseconds(100))
        #expect(bench.machine.alarm?.contains("it has version 1 of the view, after 5") == true)
        bench.publish(bench.view(6, Self.allOfN2))
        bench.advance(.seconds(1))
        #expect(bench.machine.view?.version == 6 && bench.events.count { $0 == .alarm } == 1)
    }

    @Test func anOlderViewInANewSessionIsNoAlarmIfTheServerCatchesUp() {
        var bench = ClusterMachineBench.follower()
        let lagging = bench.store.tree["/rt/c/view"]
        bench.publish(bench.view(5, Self.allOfN2))
        let newest = bench.store.tree["/rt/c/view"]
        bench.lose()
        bench.store.rollBack("/rt/c/view", to: lagging)
        bench.connect(session: 101)
        bench.settle()
        bench.store.rollBack("/rt/c/view", to: newest)
        bench.advance(.seconds(60))
        #expect(bench.machine.view?.version == 5 && bench.machine.alarm == nil)
    }

    @Test func theSameVersionIsReadOnceAndChangesNothing() {
        var bench = ClusterMachineBench.follower()
        let view = bench.machine.view
        bench.handle(.changed(["/rt/c/view"]))
        bench.settle()
        #expect(bench.requests == [.get(path: "/rt/c/view", watch: true)] && bench.machine.view == view && bench.events.isEmpty)
    }

    @Test func aViewWithALowerOwnerEpochIsRefusedWithAnAlarm() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [7, 1, 1, 1]))
        bench.forget()
        bench.publish(bench.view(6, Self.allOfN2, ownerEpochs: [6, 1, 1, 1]))
        #expect(bench.machine.view?.version == 5 && bench.releases.isEmpty && bench.states[0] == .serving)
        #expect(bench.machine.alarm?.contains("owner epoch of partition 0 went back from 7 to 6") == true)
    }

    @Test func anUnreadableViewDoesNotChangeOwnership() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        bench.store.put("/rt/c/view", Array("{\"v\":6".utf8))
        bench.settle()
        #expect(bench.machine.view?.version == 5 && bench.states[0] == .serving && bench.machine.alarm?.contains("cannot be read") == true)
    }

    @Test func anUnreadableMessageOnlyRaisesAnAlarm() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.received(from: ProcessID(id: "n2", incarnation: 1), payload: Array("{\"report\":3}".utf8)))
        #expect(bench.machine.alarm?.contains("a message from n2 cannot be read") == true && bench.machine.view?.version == 1)
    }

    @Test func aMessageOfAnUnknownKindIsIgnored() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.received(from: ProcessID(id: "n2", incarnation: 1), payload: Array("{\"song\":1}".utf8)))
        #expect(bench.machine.alarm == nil && bench.machine.view?.version == 1)
    }

    @Test func aNodeThatIsBehindPullsTheViewAndAPeerSendsIt() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.peerView(bench.process("n2"), version: 1))
        #expect(bench.sent(to: "n2").isEmpty)
        bench.handle(.peerView(bench.process("n2"), version: 2))
        guard case .pull? = bench.sent(to: "n2").last else { return recordMissing("the view was not pulled") }
        bench.receive(.pull)
        guard case .view(let view)? = bench.sent(to: "n2").last else { return recordMissing("the view was not sent") }
        #expect(view == bench.machine.view)
    }

    // MARK: - Reading

    @Test func allZnodesAreReadAgainAfterHalfAMinuteWithoutAWatch() {
        var bench = ClusterMachineBench.follower()
        bench.advance(.seconds(29))
        #expect(bench.requests.isEmpty)
        bench.advance(.seconds(1))
        #expect(Set(bench.requests).count == 4 && bench.requests.contains(.get(path: "/rt/c/view", watch: true)))
    }

    @Test func manyWatchesDuringAReadCauseOneMoreRead() {
        var bench = ClusterMachineBench.follower()
        for _ in 0..<100 { bench.handle(.changed(["/rt/c/view"])) }
        #expect(bench.open.count == 1)
        bench.settle()
        #expect(bench.requests.count == 2)
    }

    @Test func aWatchOnAnotherPathCausesNoRead() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.changed(["/rt/c/members", "/rt/other/view", "nonsense"]))
        #expect(bench.requests.isEmpty)
    }

    @Test func aReadThatFailsIsRepeatedAMomentLater() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.changed(["/rt/c/view"]))
        bench.reply(.failure(.ambiguous(code: -4)))
        #expect(bench.open.isEmpty)
        bench.advance(.milliseconds(99))
        #expect(bench.requests.count == 1)
        bench.advance(.milliseconds(201))
        #expect(bench.requests.count == 2)
    }

    // MARK: - Links

    @Test func thePeersAreTheLivingNodesOfTheViewAndTheController() {
        var bench = ClusterMachineBench.follower()
        bench.publish(
            bench.view(2, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 2]) {
                $0.nodes[2].incarnation = nil
                $0.nodes[3].incarnation = 44
            })
        #expect(bench.peers?.map(\.id) == ["n2", "n4"] && bench.peers?.last == .init(process: ProcessID(id: "n4", incarnation: 44), link: "n4:1"))
        // The view does not name the new controller yet.
        bench.store.end(200)
        bench.addMember("n5", session: 500)
        bench.addController("n5", epoch: 2, session: 500)
        bench.settle()
        #expect(bench.peers?.map(\.id).contains("n5") == true)
    }

    @Test func peersAreReportedOnlyAfterAChange() {
        var bench = ClusterMachineBench.follower()
        bench.handle(.changed(["/rt/c/view"]))
        bench.advance(.seconds(5))
        #expect(bench.peers == nil)
    }

    // MARK: - History

    @Test func theHistoryIsBoundedAndItsNumbersAreConsecutive() {
        var bench = ClusterMachineBench.follower()
        for version in Int64(2)..<3000 { bench.receive(.view(bench.view(version, ["n2", "n2", "n2", "n2"], ownerEpochs: [version, 1, 1, 1]))) }
        let events = bench.machine.history.events.filter { $0.kind == .granted }
        #expect(events.count >= ClusterHistory.countMax && events.count < ClusterHistory.countMax + 100)
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.number + 1 == $1.number })
        #expect(bench.machine.history.counts[.granted] == 2998)
        #expect(bench.machine.history.after(events.last!.number - 2).map(\.number) == [events.last!.number - 1, events.last!.number])
    }

    @Test func aRepeatedAlarmIsRecordedOnce() {
        var bench = ClusterMachineBench.follower()
        for index in 0..<100 { bench.handle(.received(from: ProcessID(id: "n\(index % 2)", incarnation: 1), payload: [])) }
        #expect(bench.events == [.alarm, .alarm])
    }

    @Test func theTransfersOfAViewAreRecordedByNode() {
        var bench = ClusterMachineBench.follower()
        bench.publish(bench.view(2, ["n1", "n1", "n1", "n2"], ownerEpochs: [2, 2, 2, 1]))
        let texts = bench.effects.compactMap { if case .log(let event) = $0 { event.text } else { nil } }
        #expect(texts == ["3 partitions moved (3 to n1)"])
    }
}
