import AdminAPI
import Testing

@testable import Coordination

/// How a node handles operators' requests.
@Suite struct AdminMachineTests {
    private static let now = ContinuousClock.now
    private static let settings = ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1")
    private var machine = AdminMachine(settings: Self.settings)
    private var controlling: ControllerMachine?
    private var outage: ZooKeeperOutage?
    private var reads = RegistryReads(paths: Self.settings.paths, ownID: "n1", rereadInterval: .seconds(30))

    private func facts(after duration: Duration = .zero, reachable: String? = "n2") -> AdminMachine.Facts {
        .init(
            now: Self.now.advanced(by: duration),
            view: ClusterView(
                version: 1, controllerEpoch: 1, writer: "", nodes: [.init(id: "n2", incarnation: 8, state: .active)], partitions: [.init(), .init()]),
            configuration: ClusterConfiguration(clusterID: "c-1", partitionCount: 2), configurationVersion: 3, reads: self.reads,
            controlling: self.controlling, reachable: reachable, noControllerReason: "There is no controller.", outage: self.outage
        ) { request, why in request.kind.changes ? nil : .failed(.notFound, why ?? "by itself") }
    }

    /// Makes this node a controller that has read the whole registry.
    private mutating func elect() {
        self.controlling = ControllerMachine(settings: Self.settings, epoch: 4, epochVersion: 4, electedAt: Self.now)
        let register = ViewMachine(paths: Self.settings.paths, cluster: "c", memory: ClusterMemory(isKept: false, past: nil))
        _ = self.controlling?.handle(
            .listed(.nodes, []),
            .init(
                now: Self.now, incarnation: 7, register: register, configuration: nil, damagedConfiguration: nil, damagedController: nil,
                hasFounded: true, links: [:], leaving: [], reads: self.reads))
        for target in [RegistryReads.Target.nodes, .configuration] {
            self.reads.read(target)
            _ = self.reads.next(at: Self.now)
            let stat = ZooKeeperStat(czxid: 1, mzxid: 1, version: 0, ephemeralOwner: 0)
            _ = self.reads.replied(target, .success(.children([], stat: stat)), at: Self.now, jitter: 0)
        }
    }

    private func responses(_ effects: [AdminMachine.Effect]) -> [AdminError.Code?] {
        effects.compactMap { if case .respond(let response, _) = $0 { .some(response.error?.code) } else { nil } }
    }

    private static let drain = AdminRequest(.drain, node: "n2", by: "ann", note: "disk")

    @Test mutating func aRequestIsForwardedAndItsResponseIsPassedOn() throws {
        let effects = self.machine.handle(Self.drain, .local(9), self.facts())
        guard case .forward(1, Self.drain, "n2")? = effects.first, effects.count == 1 else { return recordMissing("the request was not forwarded") }
        let response = self.machine.responded(1, .failed(.conflict, "no"), by: "n2", self.facts())
        guard case .respond(.failed(let error), .local(9))? = response.first else { return recordMissing("no response") }
        #expect(error.code == .conflict && self.machine.isIdle)
        // A second response to the same request is ignored.
        #expect(self.machine.responded(1, .failed(.conflict, "no"), by: "n2", self.facts()).isEmpty)
    }

    @Test mutating func withoutAControllerANodeRespondsOnlyToReads() {
        #expect(self.responses(self.machine.handle(Self.drain, .local(1), self.facts(reachable: nil))) == [.noController])
        #expect(self.responses(self.machine.handle(AdminRequest(.status), .local(2), self.facts(reachable: nil))) == [.notFound])
    }

    @Test mutating func theWaitForTheControllersResponseIsLimited() {
        _ = self.machine.handle(AdminRequest(.status), .local(1), self.facts())
        _ = self.machine.handle(Self.drain, .local(2), self.facts())
        #expect(self.responses(self.machine.proceed(self.facts(after: .milliseconds(999)))) == [])
        // After one second this node responds to a read itself. The controller may still make the change.
        #expect(self.responses(self.machine.proceed(self.facts(after: .seconds(1)))) == [.notFound])
        #expect(self.responses(self.machine.proceed(self.facts(after: .seconds(5)))) == [.timeout] && self.machine.isIdle)
    }

    @Test mutating func aNodeThatIsNotTheControllerRefusesAPeersRequest() {
        #expect(self.responses(self.machine.handle(Self.drain, .peer("n3", number: 4), self.facts())) == [.noController])
    }

    @Test mutating func theControllerRecordsAChangeAfterItsWrite() throws {
        self.elect()
        let effects = self.machine.handle(Self.drain, .local(1), self.facts())
        guard case .perform(let parts, let change)? = effects.first, case .create("/rt/c/nodes/n2", let data, false)? = parts.first else {
            return recordMissing("the change was not written")
        }
        let record = try NodeRecord(json: data)
        #expect(record.desired == .draining && record.by == "ann" && record.note == "disk" && record.revision == 1)
        let done = self.machine.replied(change, .success(.multi([nil, nil])), self.facts())
        #expect(self.responses(done) == [nil])
        #expect(done.contains { if case .record(Self.drain, nil) = $0 { true } else { false } })
        #expect(done.contains { if case .readAgain(.nodes) = $0 { true } else { false } })
    }

    @Test mutating func aChangeThatIsAlreadyInEffectIsConfirmedAndNotRecorded() {
        self.elect()
        let effects = self.machine.handle(AdminRequest(.uncordon, node: "n2"), .local(1), self.facts())
        guard case .perform(let parts, let change)? = effects.first else { return recordMissing("the change was not confirmed") }
        #expect(parts.isEmpty)
        let done = self.machine.replied(change, .success(.multi([nil])), self.facts())
        #expect(self.responses(done) == [nil] && !done.contains { if case .record = $0 { true } else { false } })
    }

    @Test mutating func aChangeWaitsUntilTheRegistryHasBeenRead() {
        self.elect()
        self.reads.readAgain(.nodes)
        #expect(self.responses(self.machine.handle(Self.drain, .local(1), self.facts())) == [] && !self.machine.isIdle)
        #expect(self.responses(self.machine.proceed(self.facts(after: .seconds(5)))) == [.starting] && self.machine.isIdle)
    }

    @Test mutating func aControllerThatWasReplacedStepsDown() {
        self.elect()
        guard case .perform(_, let change)? = self.machine.handle(Self.drain, .local(1), self.facts()).first else { return recordMissing("no write") }
        let effects = self.machine.replied(change, .failure(.refused(.badVersion, part: 0)), self.facts())
        #expect(self.responses(effects) == [.noController])
        #expect(effects.contains { if case .stepDown = $0 { true } else { false } })
    }

    @Test mutating func pendingRequestsFailWhenTheControllerStepsDown() {
        self.elect()
        _ = self.machine.handle(Self.drain, .local(1), self.facts())
        self.reads.readAgain(.configuration)
        _ = self.machine.handle(AdminRequest(.pause), .local(2), self.facts())
        #expect(self.responses(self.machine.stopControlling(self.facts())) == [.noController, .timeout] && self.machine.isIdle)
    }
}
