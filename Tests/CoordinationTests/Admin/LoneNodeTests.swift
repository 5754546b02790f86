import AdminAPI
import JSON
import Partitioning
import Testing

@testable import Coordination

/// A node without ZooKeeper responds as the controller of a cluster of one.
@Suite struct LoneNodeTests {
    private func node(_ state: NodeState = .active, _ metrics: NodeMetrics = NodeMetrics()) -> LoneNode {
        LoneNode(
            id: "n1", version: "1", startedAt: 1000, api: "127.0.0.1:8081", state: state, metrics: metrics, wallClock: 61_000, serving: Grant.everyPartition())
    }

    private func response(_ request: AdminRequest, of node: LoneNode) -> AdminResponse { node.response(to: request, at: .now) }

    @Test func aLoneNodeOwnsAndServesEveryPartition() throws {
        var metrics = NodeMetrics()
        metrics.connections = 7
        metrics.uptimeSeconds = 60
        guard case .status(let overview) = self.response(AdminRequest(.status), of: self.node(.active, metrics)),
            case .members(let members) = self.response(AdminRequest(.members), of: self.node(.active, metrics)),
            case .partitions(let partitions) = self.response(AdminRequest(.partitions), of: self.node()),
            case .plan(let plan) = self.response(AdminRequest(.plan), of: self.node())
        else { return recordMissing("no response") }
        #expect(overview.head.cluster == "embedded" && overview.head.authoritative && overview.head.controller?.id == "n1")
        #expect(overview.head.viewAgeSeconds == 60 && overview.head.coordination == .init(.healthy) && overview.zookeeper == nil)
        #expect(overview.health == .healthy && overview.reasons == [] && overview.partitions.served == 256 && overview.spread == 1)
        #expect(overview.connections == 7 && overview.nodes.filter { $0.count > 0 } == [.init(state: "active", count: 1)])
        #expect(members.members.count == 1 && members.members[0].owned == 256 && members.members[0].presence == .up && members.members[0].share == 1)
        #expect(members.members[0].report?.session == nil && members.members[0].report?.serving == 256 && members.members[0].report?.uptimeSeconds == 60)
        #expect(partitions.partitions.count == 256 && partitions.partitions.allSatisfy { $0.state == .served && $0.owner == "n1" && $0.ownerEpoch == 1 })
        #expect(plan.moves == 0 && plan.grants == 0 && plan.waiting == 0 && plan.pairs == [] && plan.refusals == [] && plan.settled)
    }

    @Test func theHealthOfALoneNodeIsTheHealthOfItsProcess() {
        var metrics = NodeMetrics()
        metrics.health = .critical
        metrics.reasons = ["The log cannot be written."]
        guard case .status(let overview) = self.response(AdminRequest(.status), of: self.node(.draining, metrics)) else { return recordMissing("no response") }
        #expect(overview.health == .critical && overview.reasons == ["The log cannot be written."])
        #expect(overview.partitions.preparing == 256, "the node is stopping and serves no partition")
    }

    @Test func locateRepeatsTheChannel() {
        guard case .partitions(let location) = self.response(AdminRequest(.locate, partition: 108, channel: "thread:42"), of: self.node()) else {
            return recordMissing("no response")
        }
        #expect(location.channel == "thread:42" && location.partitions.map(\.partition) == [108] && location.partitions[0].api == "127.0.0.1:8081")
        #expect(self.response(AdminRequest(.locate, partition: 256), of: self.node()).code == .badRequest)
    }

    @Test func aLoneNodeHasOneEvent() {
        func events(after number: Int64?) -> [String] {
            if case .events(let events) = self.response(AdminRequest(.events, after: number), of: self.node()) { events.events.map(\.text) } else { [] }
        }
        #expect(events(after: nil) == ["this node is not in a cluster, and owns all partitions"] && events(after: 0).count == 1 && events(after: 1) == [])
    }

    @Test(arguments: AdminRequest.Kind.allCases.filter(\.changes)) func nothingCanBeChanged(_ kind: AdminRequest.Kind) {
        #expect(self.response(AdminRequest(kind, node: "n1", partition: 1), of: self.node()).code == .conflict)
    }

    /// Every response is unchanged after it is written as JSON and read back.
    @Test func everyResponseReadsBack() throws {
        func value(_ response: AdminResponse) throws -> JSONValue { try JSONValue(Array(response.json.utf8), named: "response", bytesMax: .max) }
        for kind in AdminRequest.Kind.allCases where !kind.changes {
            let response = self.response(AdminRequest(kind, partition: 3, channel: "c"), of: self.node())
            let value = try value(response)
            switch response {
            case .status(let overview): #expect(try ClusterOverview(value) == overview)
            case .members(let members): #expect(try ClusterMembers(value) == members)
            case .partitions(let partitions): #expect(try ClusterPartitions(value) == partitions)
            case .plan(let plan): #expect(try ClusterPlan(value) == plan)
            case .events(let events): #expect(try ClusterEvents(value) == events)
            case .accepted, .failed, .forwarded: recordMissing("no response to \(kind)")
            }
        }
        let accepted = AcceptedChange(result: "drain n1", through: "n2", note: "x")
        #expect(try AcceptedChange(value(.accepted(accepted))) == accepted)
        #expect(try AdminError(ifIn: value(.failed(.conflict, "why \"not\""))) == AdminError(.conflict, "why \"not\""))
        #expect(try AdminResponse(forwarding: value(.accepted(accepted))) == .forwarded(json: AdminResponse.accepted(accepted).json))
    }
}
