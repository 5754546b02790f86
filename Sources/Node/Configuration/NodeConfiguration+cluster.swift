import Coordination
import Link
import Pipeline
import Sockets

extension NodeConfiguration {
    /// Cluster keys that are missing on a member, or that are set on a node outside a cluster.
    var clusterContradictions: [ConfigurationError.Problem] {
        var problems: [ConfigurationError.Problem] = []
        let options = self.cluster
        guard let servers = options.zookeeper else {
            for name in ["link", "link-advertise", "zone", "zookeeper-user"] {
                if let origin = self.origins[name] {
                    problems.append(.init("\(name) is only for a member of a cluster: set zookeeper too, or remove \(name)", at: origin))
                }
            }
            return problems
        }
        do throws(ZooKeeperServersError) { _ = try ZooKeeperServers(servers) } catch { return [.init(error.description, at: self.origins["zookeeper"])] }
        guard let link = options.link else {
            return [.init("a member of a cluster needs an address for the other nodes: set link, for example 127.0.0.1:8082", at: self.origins["zookeeper"])]
        }
        for (name, other) in [("listen", self.listen), ("api", self.api)] where link.overlaps(other) {
            problems.append(.init("link and \(name) are both \(other): give each its own port", at: self.origins["link"]))
        }
        let files = [options.linkCertificate, options.linkKey, options.linkAuthority]
        if files.contains(where: { $0 == nil }), files.contains(where: { $0 != nil }) {
            problems.append(.init("link-cert, link-key and link-ca belong together: set all three, or none", at: self.origins["link-cert"]))
        }
        if !link.isLoopback, options.linkSecret == nil, options.linkCertificate == nil {
            problems.append(
                .init(
                    "link \(link) can be reached from other machines, so the nodes must authenticate each other: set link-secret-file, or link-cert, link-key and link-ca",
                    at: self.origins["link"]))
        }
        if let secret = options.linkSecret, secret.utf8.count < LinkSecret.bytesMin {
            problems.append(
                .init(
                    "link-secret has fewer than \(LinkSecret.bytesMin) bytes. An attacker who records one handshake could guess a short secret offline: create a secret with openssl rand -base64 32",
                    at: self.origins["link-secret"] ?? self.origins["link-secret-file"]))
        }
        let advertised = options.linkAdvertise ?? link
        if advertised.isWildcard || options.linkAdvertise?.port == 0 {
            problems.append(
                .init(
                    "the other nodes cannot connect to \(advertised): set link-advertise to an address and port of this machine",
                    at: self.origins["link-advertise"] ?? self.origins["link"]))
        }
        if self.limits.linkFrameBytesMax > self.limits.linkBufferedBytesMax {
            problems.append(
                .init(
                    "link-frame-bytes-max \(self.limits.linkFrameBytesMax) is over link-buffered-bytes-max \(self.limits.linkBufferedBytesMax), so the largest "
                        + "messages could never be sent: raise link-buffered-bytes-max or lower link-frame-bytes-max",
                    at: self.origins["link-buffered-bytes-max"] ?? self.origins["link-frame-bytes-max"]))
        }
        // A publish of one event, or a page of history, and what surrounds the payloads.
        let frameBytes = max(self.limits.eventBytesMax, self.limits.replayBytesMax) + 2 * 1024 * 1024
        if self.limits.linkFrameBytesMax < frameBytes {
            problems.append(
                .init(
                    "link-frame-bytes-max \(self.limits.linkFrameBytesMax) is too low for event-bytes-max \(self.limits.eventBytesMax) and replay-bytes-max "
                        + "\(self.limits.replayBytesMax), so events could not be sent between nodes: raise it to at least \(frameBytes)",
                    at: self.origins["link-frame-bytes-max"]))
        }
        // Events and pages of history may use a quarter of the space.
        if self.limits.linkFrameBytesMax <= self.limits.linkBufferedBytesMax, self.limits.linkBufferedBytesMax < 4 * frameBytes {
            problems.append(
                .init(
                    "link-buffered-bytes-max \(self.limits.linkBufferedBytesMax) is too low for event-bytes-max \(self.limits.eventBytesMax) and replay-bytes-max "
                        + "\(self.limits.replayBytesMax), so events could not be sent between nodes: raise it to at least \(4 * frameBytes)",
                    at: self.origins["link-buffered-bytes-max"]))
        }
        if self.limits.linkSilenceSecondsMax < 2 * self.limits.linkHeartbeatSeconds {
            problems.append(
                .init(
                    "link-silence-seconds-max \(self.limits.linkSilenceSecondsMax) is less than two heartbeats, so one late heartbeat would end a link: raise it "
                        + "to at least \(2 * self.limits.linkHeartbeatSeconds), or lower link-heartbeat-seconds",
                    at: self.origins["link-silence-seconds-max"] ?? self.origins["link-heartbeat-seconds"]))
        }
        return problems
    }
}
