import AdminAPI
import Partitioning
import TestKit
import Testing

@testable import Coordination

/// Thousands of events in any order, and the invariants after each event.
@Suite struct ClusterMachineWalkTests {
    #if DEBUG
        private static let seeds: ClosedRange<UInt64> = 1...12
    #else
        private static let seeds: ClosedRange<UInt64> = 1...100
    #endif

    /// Each event can happen in a real cluster. The events come from ZooKeeper, other nodes and operators.
    @Test(arguments: seeds) func possibleEventsKeepTheInvariants(_ seed: UInt64) {
        var walk = ClusterMachineWalk(seed: seed)
        for _ in 0..<1500 where walk.problem == nil { walk.step() }
        walk.finish()
        let (problem, hasJoined) = (walk.problem, walk.hasJoined)
        #expect(problem == nil)
        #expect(hasJoined)
    }

    /// Some events cannot happen in a real cluster: replies of the wrong kind, random bytes, unknown tokens.
    @Test(arguments: seeds) func impossibleEventsDoNotCrashTheMachine(_ seed: UInt64) {
        var bench = seed.isMultiple(of: 2) ? ClusterMachineBench.follower() : ClusterMachineBench.controller(of: 3)
        bench.random = SplitMix(seed: seed)
        for _ in 0..<1500 {
            bench.wait(.milliseconds(bench.random.below(300)))
            Self.nonsense(&bench)
            #expect(bench.machine.session.pending.count <= 100)
            #expect(bench.machine.history.count < 3 * (ClusterHistory.countMax + 100))
        }
    }

    private static func nonsense(_ bench: inout ClusterMachineBench) {
        let number = Int64(bench.random.below(50))
        let id = ["n1", "n2", "n3", "", "a/b"].randomElement(using: &bench.random)!
        let owned = [Grant(partition: bench.random.below(12) - 2, ownerEpoch: number - 2)]
        switch bench.random.below(14) {
        case 0...4: if !bench.open.isEmpty { bench.reply(Self.reply(&bench)) }
        case 5: bench.handle(.replied(token: UInt64(number), Self.reply(&bench)))
        case 6:
            let payloads = ["{}", "", "{\"pull\":1}", "{\"heard\":1}", "{\"view\":{}}", "{\"complaint\":1}", "{\"answer\":{},\"status\":200,\"number\":1}"]
            let payload = bench.random.mutate(Array(payloads.randomElement(using: &bench.random)!.utf8), with: ["{", "\"", "-1", "null"])
            bench.handle(.received(from: ProcessID(id: id, incarnation: number), payload: payload))
        case 7: bench.handle(.linkUp(ProcessID(id: id, incarnation: number)))
        case 8: bench.handle(.linkDown(ProcessID(id: id, incarnation: number), isRefused: bench.random.chance(50)))
        case 9: bench.handle([.sealed(owned), .handedOver(owned), .handoffFailed(owned), .fenced(owned)][bench.random.below(4)])
        case 10: bench.handle(.peerView(ProcessID(id: id, incarnation: number), version: number))
        case 11:
            let kind = AdminRequest.Kind.allCases.randomElement(using: &bench.random)!
            bench.handle(.request(number: UInt64(number), AdminRequest(kind, node: id, partition: Int(number) - 9, after: number)))
        case 12: bench.handle(.changed(["/rt/c/view", "/rt/c/controller", "/rt/c/members", "/rt/c/members/n1", "/rt/c/nodes", "/rt/c/config"]))
        default:
            switch bench.random.below(12) {
            case 0:
                bench.lose(.givenUp)
                bench.connect(session: bench.session + 1)
            case 1...4: bench.suspend()
            default: bench.reconnect()
            }
        }
    }

    private static func reply(_ bench: inout ClusterMachineBench) -> Result<ZooKeeperReply, ZooKeeperFailure> {
        let number = Int64(bench.random.below(40))
        let stat = ZooKeeperStat(czxid: number, mzxid: number, version: Int32(number % 7), ephemeralOwner: 99 + number % 4)
        let texts = [
            "", "{}", "7", "\u{0}", "{\"id\":\"n1\",\"inc\":5,\"ce\":1}",
            "{\"v\":3,\"ce\":0,\"writer\":\"\",\"at\":0,\"nodes\":[],\"owner\":[-1],\"oe\":[9],\"moves\":[]}",
        ]
        switch bench.random.below(20) {
        case 0...5: return .success(.node(data: Array(texts.randomElement(using: &bench.random)!.utf8), stat: stat))
        case 6...8: return .success(.stat(stat))
        case 9: return .success(.stat(nil))
        case 10...12: return .success(.children(["n1", "n2", "n3", "a b", ""], stat: stat))
        case 13...15: return .success(.multi([stat, nil]))
        case 16: return .success(.multi([]))
        case 17: return .success(.done)
        case 18:
            return .failure(.refused([.noNode, .nodeExists, .badVersion, .notEmpty].randomElement(using: &bench.random)!, part: bench.random.below(3) - 1))
        default: return .failure([.ambiguous(code: -4), .notSent(code: -4), .sessionLost].randomElement(using: &bench.random)!)
        }
    }
}
