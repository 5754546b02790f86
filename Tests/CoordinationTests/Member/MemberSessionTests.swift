import Testing

@testable import Coordination

@Suite struct MemberSessionTests {
    private var session = MemberSession(settings: ClusterSettings(cluster: "c", id: "n1", link: "n1:1", api: "n1:2", version: "1"))

    private mutating func change(_ phase: ZooKeeperState.Phase, generation: UInt64 = 1) -> MemberSession.Change {
        self.session.changed(ZooKeeperState(generation: generation, phase: phase))
    }

    @Test mutating func aSessionKeepsItsIDUntilItIsLost() {
        let steps: [(phase: ZooKeeperState.Phase, id: Int64?, isConnected: Bool)] = [
            (.connecting, nil, false),
            (.connected(session: 100, timeout: .seconds(6)), 100, true),
            (.suspended, 100, false),
            (.connected(session: 100, timeout: .seconds(6)), 100, true),
            (.suspended, 100, false),
            (.lost(.expired), nil, false),
            (.connecting, nil, false),
            (.connected(session: 101, timeout: .seconds(4)), 101, true),
        ]
        for step in steps {
            _ = self.change(step.phase)
            #expect(self.session.id == step.id && self.session.isConnected == step.isConnected, "\(step.phase)")
            #expect((self.session.timeout == nil) == (step.id == nil), "\(step.phase)")
        }
        #expect(self.session.own == [100, 101] && self.session.timeout == .seconds(4))
    }
}
