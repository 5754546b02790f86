import AdminAPI
import JSON
import NIOCore
import Pipeline
import Storage

extension NodeSnapshot {
    /// The answer of `GET /api/status`.
    var json: ByteBuffer {
        let (health, reasons) = self.health
        let configuration = self.shared.configuration
        var out = ByteBuffer()
        out.writeString("{\"node\":{\"id\":")
        out.writeJSONString(configuration.id)
        out.writeString(",\"version\":\"\(self.shared.version)\",\"commit\":\"\(self.shared.commit)\",\"pid\":\(OperatingSystem.processID)")
        out.writeString(
            ",\"started_at\":\"\(OperatingSystem.iso8601(self.shared.startedAt))\",\"uptime_seconds\":\(self.shared.uptimeSeconds),\"time\":\"\(OperatingSystem.iso8601(WallClock.now()))\""
        )
        out.writeString(",\"state\":\"\(self.state.rawValue)\",\"loops\":\(self.loops)}")
        out.writeString(",\"listen\":\"\(self.shared.boundAddresses.listen)\",\"api\":\"\(self.shared.boundAddresses.api)\"")
        out.writeString(",\"log\":{\"kind\":\"\(self.log.kind)\",\"path\":")
        self.write(self.log.path, into: &out)
        out.writeString(",\"durability\":\"\(self.log.durability)\",\"state\":\"\(self.log.error == nil ? "ready" : "failing")\",\"error\":")
        self.write(self.log.error, into: &out)
        out.writeString(",\"events\":\(self.log.events),\"bytes\":\(self.log.bytes),\"channels\":\(self.channels)}")
        out.writeString(",\"subscribers\":{\"connections\":\(self.counts.subscribers),\"connections_max\":\(self.shared.connectionsMax)")
        out.writeString(",\"subscriptions\":\(self.fanout.subscriptionsOpened - self.fanout.subscriptionsClosed),\"by_transport\":{")
        for transport in Transport.allCases {
            let open = self.connections.opened[transport.rawValue] - self.connections.ended[transport.rawValue]
            out.writeString("\(transport.rawValue > 0 ? "," : "")\"\(transport.name)\":\(open)")
        }
        out.writeString("}},\"rates\":{\"published_per_second\":\(Self.rounded(self.publishedPerSecond))")
        out.writeString(",\"delivered_per_second\":\(Self.rounded(self.deliveredPerSecond))}")
        out.writeString(",\"totals\":{\"published\":\(self.sequencer.published),\"delivered\":\(self.fanout.delivered)")
        out.writeString(
            ",\"duplicates\":\(self.sequencer.duplicates),\"gaps\":\(self.fanout.gaps),\"refused\":\(self.sequencer.refused),\"refused_connections\":\(self.connections.refusedAtLimit)}"
        )
        out.writeString(",\"cluster\":")
        if let member = self.member { member.write(into: &out) } else { out.writeString("null") }
        out.writeString(",\"health\":\"\(health.rawValue)\",\"reasons\":[")
        for (index, reason) in reasons.enumerated() {
            if index > 0 { out.writeString(",") }
            out.writeJSONString(reason)
        }
        out.writeString("]}")
        return out
    }

    private func write(_ text: String?, into out: inout ByteBuffer) {
        if let text { out.writeJSONString(text) } else { out.writeString("null") }
    }

    private static func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
