import Coordination
import JSON
import Partitioning

/// The cluster that a node is by itself, without ZooKeeper: it owns everything, and nothing about that can be changed.
struct EmbeddedCluster: ClusterAsking {
    let inspector: NodeInspector
    let shared: NodeShared

    var partitionCount: Int { Partitions.countByDefault }

    func ask(_ question: ClusterQuestion) async -> ClusterAnswer {
        guard !question.kind.changes else {
            var writer = JSONWriter()
            writer.object { writer in
                writer.name("error")
                writer.object { writer in
                    writer.field("code", "conflict")
                    writer.field("message", "this node is alone (no --zookeeper): it owns every partition, and there is nobody to give one to")
                }
            }
            return ClusterAnswer(status: 409, body: String(decoding: writer.bytes, as: UTF8.self))
        }
        let member = EmbeddedMember(snapshot: await self.inspector.snapshot(), partitionCount: self.partitionCount)
        var writer = JSONWriter()
        switch question.kind {
        case .members: member.writeMembers(to: &writer)
        case .partitions: member.writePartitions(0..<self.partitionCount, to: &writer)
        case .locate: member.writePartitions((question.partition ?? 0)..<((question.partition ?? 0) + 1), to: &writer)
        case .plan: member.writePlan(to: &writer)
        case .events: member.writeEvents(after: question.after ?? 0, to: &writer)
        case .status, .rebalance, .pause, .resume, .drain, .undrain, .cordon, .uncordon, .move, .unpin, .forget: member.writeStatus(to: &writer)
        }
        return ClusterAnswer(status: 200, body: String(decoding: writer.bytes, as: UTF8.self))
    }
}

/// What the one member of an embedded cluster says, in the words of a cluster's controller.
private struct EmbeddedMember {
    let snapshot: NodeSnapshot
    let partitionCount: Int

    private var id: String { self.snapshot.shared.configuration.id }
    private var isServing: Bool { self.snapshot.shared.state == .ready }
    private var state: NodeState {
        switch self.snapshot.shared.state {
        case .starting: .joining
        case .ready: .active
        case .stopping: .draining
        }
    }

    private func writeHead(to writer: inout JSONWriter) {
        writer.field("cluster", "embedded")
        writer.field("through", self.id)
        writer.name("authoritative")
        writer.raw("true")
        writer.name("controller")
        writer.object { writer in
            writer.field("id", self.id)
            writer.field("incarnation", 1)
            writer.field("epoch", 1)
            writer.field("api", self.snapshot.shared.boundAddresses.api)
        }
        writer.name("coordination")
        writer.object { $0.field("health", "healthy") }
        writer.field("mode", ClusterView.Mode.normal.rawValue)
        writer.field("view_version", 1)
        writer.field("view_age_seconds", self.snapshot.shared.uptimeSeconds)
    }

    func writeStatus(to writer: inout JSONWriter) {
        let (health, reasons) = self.snapshot.health
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("zookeeper")
            writer.null()
            writer.name("nodes")
            writer.object { writer in for state in NodeState.allCases { writer.field(state.rawValue, state == self.state ? 1 : 0) } }
            writer.name("partitions")
            writer.object { writer in
                writer.field("total", self.partitionCount)
                writer.field("served", self.isServing ? self.partitionCount : 0)
                writer.field("preparing", self.isServing ? 0 : self.partitionCount)
                for state in ["moving", "orphan", "unknown", "contested"] { writer.field(state, 0) }
            }
            writer.field("spread", 1)
            self.writeFigures(to: &writer)
            writer.field("health", health.rawValue)
            writer.name("reasons")
            writer.array { writer in for reason in reasons { writer.string(reason) } }
            writer.name("notices")
            writer.array { _ in }
        }
    }

    private func writeFigures(to writer: inout JSONWriter) {
        writer.field("connections", self.snapshot.counts.subscribers)
        writer.field("published_per_second", (self.snapshot.publishedPerSecond * 10).rounded() / 10)
        writer.field("delivered_per_second", (self.snapshot.deliveredPerSecond * 10).rounded() / 10)
    }

    func writeMembers(to writer: inout JSONWriter) {
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("members")
            writer.array { writer in
                writer.object { writer in
                    writer.field("id", self.id)
                    writer.field("state", self.state.rawValue)
                    writer.field("presence", "up")
                    writer.field("witnesses", 0)
                    writer.field("seen_by", 0)
                    writer.name("not_seen_by")
                    writer.array { _ in }
                    writer.field("zone", "")
                    writer.field("link", "")
                    writer.field("api", self.snapshot.shared.boundAddresses.api)
                    writer.field("incarnation", 1)
                    writer.field("version", self.snapshot.shared.version)
                    writer.field("weight", 1)
                    writer.field("owned", self.partitionCount)
                    writer.field("share", 1)
                    writer.field("moving_in", 0)
                    writer.field("moving_out", 0)
                    writer.field("uptime_seconds", self.snapshot.shared.uptimeSeconds)
                    writer.field("serving", self.isServing ? self.partitionCount : 0)
                    self.writeFigures(to: &writer)
                    writer.field("node_view_version", 1)
                    writer.field("report_age_ms", 0)
                    writer.field("health", self.snapshot.health.0.rawValue)
                    writer.field("peers", 0)
                    writer.field("sees", 0)
                    writer.name("does_not_see")
                    writer.array { _ in }
                }
            }
        }
    }

    func writePartitions(_ range: Range<Int>, to writer: inout JSONWriter) {
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("partitions")
            writer.array { writer in
                for partition in range {
                    writer.object { writer in
                        writer.field("partition", partition)
                        writer.field("owner", self.id)
                        writer.field("owner_epoch", 1)
                        writer.field("state", self.isServing ? "served" : "preparing")
                        writer.field("api", self.snapshot.shared.boundAddresses.api)
                    }
                }
            }
        }
    }

    func writePlan(to writer: inout JSONWriter) {
        writer.object { writer in
            self.writeHead(to: &writer)
            for count in ["moves", "grants", "lower_bound", "waiting", "rounds"] { writer.field(count, 0) }
            writer.field("spread_before", 1)
            writer.field("spread_after", 1)
            writer.name("settled")
            writer.raw("true")
            writer.name("pairs")
            writer.array { _ in }
            writer.name("refusals")
            writer.array { _ in }
        }
    }

    func writeEvents(after number: Int64, to writer: inout JSONWriter) {
        writer.object { writer in
            writer.field("through", self.id)
            writer.name("events")
            writer.array { writer in
                guard number < 1 else { return }
                writer.object { writer in
                    writer.field("number", 1)
                    writer.field("kind", ClusterEvent.Kind.joined.rawValue)
                    writer.field("at", self.snapshot.shared.startedAt)
                    writer.field("node", self.id)
                    writer.field("view", 1)
                    writer.field("text", "alone, and owns all partitions")
                }
            }
        }
    }
}
