import JSON
import Partitioning

extension ClusterStatus {
    /// The fields that every answer begins with: who says so.
    func writeHead(to writer: inout JSONWriter) {
        writer.field("cluster", self.configuration.clusterID)
        writer.field("through", self.ownID)
        writer.name("authoritative")
        writer.raw(self.isAuthoritative ? "true" : "false")
        writer.name("controller")
        if let controller = self.controller {
            writer.object { writer in
                writer.field("id", controller.id)
                writer.field("incarnation", controller.incarnation)
                writer.field("epoch", controller.epoch)
                if let api = controller.api { writer.field("api", api) }
            }
        } else {
            writer.null()
        }
        let (health, reason) = self.coordination
        writer.name("coordination")
        writer.object { writer in
            writer.field("health", health.name)
            if let reason { writer.field("reason", reason) }
        }
        writer.field("mode", self.view.mode.rawValue)
        writer.field("view_version", self.view.version)
        writer.field("view_age_seconds", max(0, (self.wallClock - self.view.writtenAt) / 1000))
    }

    func writeStatus(to writer: inout JSONWriter) {
        let (health, reasons) = self.judgement
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("zookeeper")
            writer.object { writer in
                writer.field("node", self.ownID)
                writer.field("state", self.session.phase.name)
                if case .connected(let session, let timeout) = self.session.phase {
                    writer.field("session", "0x" + String(UInt64(bitPattern: session), radix: 16))
                    writer.field("timeout_ms", timeout.wholeMilliseconds)
                }
            }
            writer.name("nodes")
            writer.object { writer in
                for state in NodeState.allCases { writer.field(state.rawValue, self.view.nodes.count { $0.state == state }) }
            }
            writer.name("partitions")
            writer.object { writer in
                writer.field("total", self.view.partitions.count)
                for state in PartitionState.allCases { writer.field(state.rawValue, self.count(state)) }
                writer.field("contested", self.contested.count)
                writer.field("unserved", self.unserved.count)
            }
            let owned = self.view.nodes.filter { $0.state == .active && $0.weight > 0 }.map { Double(self.view.partitions(ownedBy: $0.id).count) / $0.weight }
            let mean = owned.isEmpty ? 0 : owned.reduce(0, +) / Double(owned.count)
            writer.field("spread", mean > 0 ? (owned.max()! / mean * 1000).rounded() / 1000 : 1)
            let fresh = self.reports.values.filter { self.isFresh($0) }.map(\.report.figures)
            writer.field("connections", fresh.reduce(0) { $0 + $1.connections })
            writer.field("published_per_second", fresh.reduce(0) { $0 + $1.publishedPerSecond })
            writer.field("delivered_per_second", fresh.reduce(0) { $0 + $1.deliveredPerSecond })
            writer.field("health", health.name)
            writer.name("reasons")
            writer.array { writer in for reason in reasons { writer.string(reason) } }
            writer.name("notices")
            writer.array { writer in for notice in self.notices { writer.string(notice) } }
        }
    }

    /// Names in one list of an answer.
    private static let namesMax = 20

    func writeMembers(to writer: inout JSONWriter) {
        let sightings = self.sightings()
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("members")
            writer.array { writer in for node in self.view.nodes { self.write(node, sightings[node.id] ?? Sighting(), to: &writer) } }
        }
    }

    private func write(_ node: ClusterView.Node, _ sighting: Sighting, to writer: inout JSONWriter) {
        let owned = self.view.partitions(ownedBy: node.id).count
        writer.object { writer in
            writer.field("id", node.id)
            writer.field("state", node.state.rawValue)
            writer.field("presence", sighting.presence.rawValue)
            writer.field("witnesses", sighting.witnesses)
            writer.field("seen_by", sighting.witnesses - sighting.unseenBy.count)
            writer.name("not_seen_by")
            writer.array { writer in for id in sighting.unseenBy.prefix(Self.namesMax) { writer.string(id) } }
            if let record = self.desired[node.id] {
                writer.field("desired", record.desired.rawValue)
                writer.field("by", record.by)
                writer.field("note", record.note)
            }
            writer.field("zone", node.zone)
            writer.field("link", node.link)
            writer.field("api", node.api)
            if let incarnation = node.incarnation { writer.field("incarnation", incarnation) }
            writer.field("version", node.version)
            writer.field("weight", node.weight)
            writer.field("owned", owned)
            writer.field("share", Double(owned) / Double(max(1, self.view.partitions.count)))
            writer.field("moving_in", self.view.partitions.count { $0.move?.to == node.id })
            writer.field("moving_out", self.view.partitions.count { $0.owner == node.id && $0.move != nil })
            // Without a session this node has no incarnation to report under. What it knows of itself is as true as before.
            let own = node.id == self.ownID ? Leader.Received(report: self.ownReport, at: self.now) : nil
            guard let received = own ?? self.reports[node.id], node.incarnation == received.report.incarnation else { return }
            let report = received.report
            if let uptime = report.figures.uptimeSeconds { writer.field("uptime_seconds", uptime) }
            writer.field("session", report.session)
            writer.field("serving", report.serving.count)
            writer.field("connections", report.figures.connections)
            writer.field("published_per_second", report.figures.publishedPerSecond)
            writer.field("delivered_per_second", report.figures.deliveredPerSecond)
            writer.field("node_view_version", report.viewVersion)
            writer.field("report_age_ms", (self.now - received.at).wholeMilliseconds)
            writer.field("health", report.figures.health)
            if let alarm = report.alarm { writer.field("alarm", alarm) }
            let peers = self.view.nodes.filter { $0.id != node.id && $0.incarnation != nil }
            let seen = Set(report.reached.map(\.id))
            writer.field("peers", peers.count)
            writer.field("sees", peers.count { seen.contains($0.id) })
            writer.name("does_not_see")
            writer.array { writer in for peer in peers where !seen.contains(peer.id) { writer.string(peer.id) } }
        }
    }

    func writePartitions(_ range: Range<Int>, to writer: inout JSONWriter) {
        let contested = Set(self.contested)
        writer.object { writer in
            self.writeHead(to: &writer)
            writer.name("partitions")
            writer.array { writer in
                for partition in range {
                    let entry = self.view.partitions[partition]
                    writer.object { writer in
                        writer.field("partition", partition)
                        if let owner = entry.owner { writer.field("owner", owner) }
                        writer.field("owner_epoch", entry.ownerEpoch)
                        writer.field("state", self.states[partition].rawValue)
                        if let move = entry.move {
                            writer.field("moving_to", move.to)
                            writer.field("reason", move.reason.rawValue)
                        }
                        if contested.contains(partition) {
                            writer.name("contested")
                            writer.raw("true")
                        }
                        if let pin = self.configuration.pins[partition] { writer.field("pinned_to", pin) }
                        if let owner = entry.owner, let api = self.view.node(owner)?.api { writer.field("api", api) }
                    }
                }
            }
        }
    }
}

extension ZooKeeperState.Phase {
    var name: String {
        switch self {
        case .connecting: "connecting"
        case .connected: "connected"
        case .suspended: "suspended"
        case .lost: "lost"
        case .closing: "closing"
        case .closed: "closed"
        }
    }
}
