import AdminAPI
import Gateway
import JSON
import NIOCore
import Pipeline
import Relay
import Storage
import SubscriberAPI

extension ProcessStatus {
    /// The response of `GET /api/status`.
    var json: ByteBuffer {
        var writer = JSONWriter(ByteBuffer())
        self.status.write(to: &writer)
        return writer.sink
    }

    var status: NodeStatus {
        let (health, reasons) = self.health
        return NodeStatus(
            node: .init(
                id: self.identity.id, version: self.identity.version, commit: self.identity.commit, pid: Int(OperatingSystem.processID),
                startedAt: OperatingSystem.iso8601(self.startedAt), uptimeSeconds: Int(self.uptimeSeconds),
                time: OperatingSystem.iso8601(WallClock.now()), state: self.state.rawValue, loops: self.gateway.loops),
            listen: self.listen, api: self.api,
            log: .init(
                kind: self.log.kind, path: self.log.path, durability: self.log.durability, error: self.log.error, events: self.log.events,
                bytes: self.log.bytes, channels: self.log.channels),
            subscribers: .init(
                connections: self.gateway.openSubscribers, connectionsMax: self.gateway.subscribersMax,
                subscriptions: Int(self.gateway.fanout.subscriptionsOpened - self.gateway.fanout.subscriptionsClosed),
                byTransport: Transport.allCases.map { transport in
                    .init(transport: transport.name, count: self.gateway.connections.current(transport))
                }),
            rates: .init(
                publishedPerSecond: Self.rounded(self.publishedPerSecond), deliveredPerSecond: Self.rounded(self.deliveredPerSecond)),
            totals: .init(
                published: Int(self.sequencer.published), delivered: Int(self.gateway.fanout.delivered), duplicates: Int(self.sequencer.duplicates),
                gaps: Int(self.gateway.fanout.gaps), refused: Int(self.sequencer.refused), refusedConnections: Int(self.gateway.connections.refusedAtLimit)),
            relay: self.relay?.status, cluster: self.member?.membership, health: health, reasons: reasons)
    }

    static func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
