import AdminAPI
import Testing

@testable import Coordination

@Suite struct ClusterMachineViewTests {
    private static let allOfN2: [String?] = ["n2", "n2", "n2", "n2"]

    @Test func aNewerViewFromZooKeeperIsTaken() {
        var stand = ClusterMachineStand.follower()
        let view = stand.view(5, Self.allOfN2)
        stand.publish(view)
        #expect(stand.machine.view == view)
        #expect(stand.requests == [.get(path: "/rt/c/view", watch: true)])
        // The links tell the peers which version this node has.
        guard case .peers(_, _, let version)? = stand.told.last(where: { if case .peers = $0 { true } else { false } }) else {
            return recordMissing("no peers")
        }
        #expect(version == 5)
    }

    @Test func aNewerViewFromAPeerIsTaken() {
        var stand = ClusterMachineStand.follower()
        let view = stand.view(5, Self.allOfN2)
        stand.receive(.view(view))
        #expect(stand.machine.view == view && stand.machine.alarm == nil)
    }

    @Test func anOlderViewFromAPeerIsOnlyLate() {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(5, Self.allOfN2))
        stand.receive(.view(stand.view(4, ["n1", "n1", "n1", "n1"])))
        #expect(stand.machine.view?.version == 5 && stand.machine.alarm == nil && stand.seals.isEmpty)
    }

    @Test func anOlderViewFromZooKeeperIsRefusedWithAnAlarm() {
        var stand = ClusterMachineStand.follower()
        let lost = stand.store.tree["/rt/c/view"]
        stand.publish(stand.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        stand.forget()
        stand.store.setBack("/rt/c/view", to: lost)
        stand.settle()
        #expect(stand.machine.view?.version == 5 && stand.states[0] == .serving && stand.releases.isEmpty)
        #expect(stand.events == [.alarm] && stand.machine.alarm?.contains("from version 5 to 1") == true)
        // Repaired and not seen again, it is forgotten.
        stand.publish(stand.view(6, ["n1", "n2", "n2", "n2"], ownerEpochs: [3, 1, 1, 1]))
        stand.advance(.seconds(599))
        #expect(stand.machine.alarm != nil)
        stand.advance(.seconds(2))
        #expect(stand.machine.alarm == nil && stand.machine.view?.version == 6)
    }

    /// A server that only lags shows the newer one a moment later.
    @Test func anOlderViewInANewSessionIsAnAlarmWhenItStays() {
        var stand = ClusterMachineStand.follower()
        let lost = stand.store.tree["/rt/c/view"]
        stand.publish(stand.view(5, Self.allOfN2))
        stand.lose()
        stand.store.setBack("/rt/c/view", to: lost)
        stand.forget()
        stand.connect(session: 101)
        stand.settle()
        stand.advance(.milliseconds(900))
        #expect(stand.machine.view?.version == 5 && stand.machine.alarm == nil)
        stand.advance(.milliseconds(100))
        #expect(stand.machine.alarm?.contains("it shows version 1 of the view, after 5") == true)
        stand.publish(stand.view(6, Self.allOfN2))
        stand.advance(.seconds(1))
        #expect(stand.machine.view?.version == 6 && stand.events.count { $0 == .alarm } == 1)
    }

    @Test func anOlderViewInANewSessionIsNoAlarmWhenTheServerCatchesUp() {
        var stand = ClusterMachineStand.follower()
        let lagging = stand.store.tree["/rt/c/view"]
        stand.publish(stand.view(5, Self.allOfN2))
        let newest = stand.store.tree["/rt/c/view"]
        stand.lose()
        stand.store.setBack("/rt/c/view", to: lagging)
        stand.connect(session: 101)
        stand.settle()
        stand.store.setBack("/rt/c/view", to: newest)
        stand.advance(.seconds(60))
        #expect(stand.machine.view?.version == 5 && stand.machine.alarm == nil)
    }

    @Test func theSameVersionIsReadOnceAndChangesNothing() {
        var stand = ClusterMachineStand.follower()
        let view = stand.machine.view
        stand.handle(.changed(["/rt/c/view"]))
        stand.settle()
        #expect(stand.requests == [.get(path: "/rt/c/view", watch: true)] && stand.machine.view == view && stand.events.isEmpty)
    }

    @Test func aViewThatTakesAnOwnerEpochBackIsRefusedWithAnAlarm() {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [7, 1, 1, 1]))
        stand.forget()
        stand.publish(stand.view(6, Self.allOfN2, ownerEpochs: [6, 1, 1, 1]))
        #expect(stand.machine.view?.version == 5 && stand.releases.isEmpty && stand.states[0] == .serving)
        #expect(stand.machine.alarm?.contains("owner epoch of partition 0 went back from 7 to 6") == true)
    }

    @Test func aViewThatCannotBeReadLeavesOwnershipAsItIs() {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(5, ["n1", "n2", "n2", "n2"], ownerEpochs: [2, 1, 1, 1]))
        stand.store.put("/rt/c/view", Array("{\"v\":6".utf8))
        stand.settle()
        #expect(stand.machine.view?.version == 5 && stand.states[0] == .serving && stand.machine.alarm?.contains("cannot be read") == true)
    }

    @Test func aMessageThatCannotBeReadIsAnAlarmAndNoMore() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.received(from: "n2", incarnation: 1, payload: Array("{\"report\":3}".utf8)))
        #expect(stand.machine.alarm?.contains("a message from n2 cannot be read") == true && stand.machine.view?.version == 1)
    }

    @Test func aMessageOfAKindThatIsNotKnownIsANewerVersions() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.received(from: "n2", incarnation: 1, payload: Array("{\"song\":1}".utf8)))
        #expect(stand.machine.alarm == nil && stand.machine.view?.version == 1)
    }

    @Test func whoeverIsBehindPullsAndIsGivenTheView() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.peerView(id: "n2", version: 1))
        #expect(stand.sent(to: "n2").isEmpty)
        stand.handle(.peerView(id: "n2", version: 2))
        guard case .pull? = stand.sent(to: "n2").last else { return recordMissing("not pulled") }
        stand.receive(.pull)
        guard case .view(let view)? = stand.sent(to: "n2").last else { return recordMissing("not given") }
        #expect(view == stand.machine.view)
    }

    // MARK: - Reading

    @Test func everythingIsReadAgainAfterHalfAMinuteWithoutAWatch() {
        var stand = ClusterMachineStand.follower()
        stand.advance(.seconds(29))
        #expect(stand.requests.isEmpty)
        stand.advance(.seconds(1))
        #expect(Set(stand.requests).count == 4 && stand.requests.contains(.get(path: "/rt/c/view", watch: true)))
    }

    @Test func aBurstOfWatchesDuringAReadIsOneMoreRead() {
        var stand = ClusterMachineStand.follower()
        for _ in 0..<100 { stand.handle(.changed(["/rt/c/view"])) }
        #expect(stand.open.count == 1)
        stand.settle()
        #expect(stand.requests.count == 2)
    }

    @Test func aWatchOnSomethingElseReadsNothing() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.changed(["/rt/c/members", "/rt/other/view", "nonsense"]))
        #expect(stand.requests.isEmpty)
    }

    @Test func aReadThatFailsIsTriedAgainAMomentLater() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.changed(["/rt/c/view"]))
        stand.answer(.failure(.ambiguous(code: -4)))
        #expect(stand.open.isEmpty)
        stand.advance(.milliseconds(99))
        #expect(stand.requests.count == 1)
        stand.advance(.milliseconds(201))
        #expect(stand.requests.count == 2)
    }

    // MARK: - Links

    @Test func linksGoToTheLivingOfTheViewAndToTheController() {
        var stand = ClusterMachineStand.follower()
        stand.publish(
            stand.view(2, ["n2", "n2", "n3", "n4"], ownerEpochs: [1, 1, 2, 2]) {
                $0.nodes[2].incarnation = nil
                $0.nodes[3].incarnation = 44
            })
        #expect(stand.peers?.map(\.id) == ["n2", "n4"] && stand.peers?.last == .init(id: "n4", incarnation: 44, link: "n4:1"))
        // A controller that is so new that the view does not name it.
        stand.store.end(200)
        stand.addMember("n5", session: 500)
        stand.addController("n5", epoch: 2, session: 500)
        stand.settle()
        #expect(stand.peers?.map(\.id).contains("n5") == true)
    }

    @Test func peersAreToldOnlyWhenSomethingIsDifferent() {
        var stand = ClusterMachineStand.follower()
        stand.handle(.changed(["/rt/c/view"]))
        stand.advance(.seconds(5))
        #expect(stand.peers == nil)
    }

    // MARK: - History

    @Test func theHistoryIsBoundedAndItsNumbersGoOn() {
        var stand = ClusterMachineStand.follower()
        for version in Int64(2)..<3000 { stand.receive(.view(stand.view(version, ["n2", "n2", "n2", "n2"], ownerEpochs: [version, 1, 1, 1]))) }
        let events = stand.machine.history.events.filter { $0.kind == .granted }
        #expect(events.count >= ClusterHistory.countMax && events.count < ClusterHistory.countMax + 100)
        #expect(zip(events, events.dropFirst()).allSatisfy { $0.number + 1 == $1.number })
        #expect(stand.machine.history.counts[.granted] == 2998)
        #expect(stand.machine.history.after(events.last!.number - 2).map(\.number) == [events.last!.number - 1, events.last!.number])
    }

    @Test func anAlarmThatComesAgainAndAgainIsToldOnce() {
        var stand = ClusterMachineStand.follower()
        for index in 0..<100 { stand.handle(.received(from: "n\(index % 2)", incarnation: 1, payload: [])) }
        #expect(stand.events == [.alarm, .alarm])
    }

    @Test func oneViewTellsByNodeAndNotByPartition() {
        var stand = ClusterMachineStand.follower()
        stand.publish(stand.view(2, ["n1", "n1", "n1", "n2"], ownerEpochs: [2, 2, 2, 1]))
        let texts = stand.told.compactMap { if case .log(let event) = $0 { event.text } else { nil } }
        #expect(texts == ["3 partitions moved (3 to n1)"])
    }
}
