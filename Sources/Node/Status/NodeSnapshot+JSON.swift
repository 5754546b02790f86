import AdminAPI
import Gateway
import JSON
import NIOCore
import Pipeline
import Storage

extension NodeSnapshot {
    /// The answer of `GET /api/status`.
    var json: ByteBuffer {
        let (health, reasons) = self.health
        var out = ByteBuffer()
        out.writeString("{\"node\":{\"id\":")
        out.writeJSONString(self.identity.id)
        out.writeString(",\"version\":\"\(self.identity.version)\",\"commit\":\"\(self.identity.commit)\",\"pid\":\(OperatingSystem.processID)")
        out.writeString(
            ",\"started_at\":\"\(OperatingSystem.iso8601(self.startedAt))\",\"uptime_seconds\":\(self.uptimeSeconds),\"time\":\"\(OperatingSystem.iso8601(WallClock.now()))\""
        )
        out.writeString(",\"state\":\"\(self.state.rawValue)\",\"loops\":\(self.gateway.loops)}")
        out.writeString(",\"listen\":\"\(self.listen)\",\"api\":\"\(self.api)\"")
        out.writeString(",\"log\":{\"kind\":\"\(self.log.kind)\",\"path\":")
        self.write(self.log.path, into: &out)
        out.writeString(",\"durability\":\"\(self.log.durability)\",\"state\":\"\(self.log.error == nil ? "ready" : "failing")\",\"error\":")
        self.write(self.log.error, into: &out)
        out.writeString(",\"events\":\(self.log.events),\"bytes\":\(self.log.bytes),\"channels\":\(self.channels)}")
        out.writeString(",\"subscribers\":{\"connections\":\(self.gateway.openSubscribers),\"connections_max\":\(self.gateway.subscribersMax)")
        out.writeString(",\"subscriptions\":\(self.gateway.fanout.subscriptionsOpened - self.gateway.fanout.subscriptionsClosed),\"by_transport\":{")
        for transport in Transport.allCases {
            let open = self.gateway.connections.opened[transport.rawValue] - self.gateway.connections.ended[transport.rawValue]
            out.writeString("\(transport.rawValue > 0 ? "," : "")\"\(transport.name)\":\(open)")
        }
        out.writeString("}},\"rates\":{\"published_per_second\":\(Self.rounded(self.publishedPerSecond))")
        out.writeString(",\"delivered_per_second\":\(Self.rounded(self.deliveredPerSecond))}")
        out.writeString(",\"totals\":{\"published\":\(self.sequencer.published),\"delivered\":\(self.gateway.fanout.delivered)")
        out.writeString(
            ",\"duplicates\":\(self.sequencer.duplicates),\"gaps\":\(self.gateway.fanout.gaps),\"refused\":\(self.sequencer.refused),\"refused_connections\":\(self.gateway.connections.refusedAtLimit)}"
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
