/// Detects a node that restarts or loses its session again and again. Its partitions move each time, so an operator has to know.
///
/// If most nodes are lost within 10 s, ZooKeeper or the network is the cause, and these losses are not counted. The memory is bounded, because old losses are
/// removed at the next loss of any node.
package struct FlapGuard: Hashable, Sendable {
    package static let window: Duration = .seconds(300)
    package static let lossesMax = 3
    package static let wave: Duration = .seconds(10)
    /// The number of losses that are kept for one node, and compared with the losses of other nodes.
    private static let rememberedMax = 20

    private var losses: [String: [ContinuousClock.Instant]] = [:]

    /// The number of nodes with remembered losses.
    package var count: Int { self.losses.count }

    package init() {}

    /// Records a loss, and returns whether the node has been lost too often.
    ///
    /// - Parameter count: the number of nodes.
    package mutating func lost(_ id: String, of count: Int, at now: ContinuousClock.Instant) -> Bool {
        self.losses[id, default: []].append(now)
        self.losses = self.losses.compactMapValues { times in
            let recent = times.suffix(FlapGuard.rememberedMax).filter { now < $0.advanced(by: FlapGuard.window) }
            return recent.isEmpty ? nil : recent
        }
        let others = self.losses.filter { $0.key != id }.values
        let own = self.losses[id, default: []].count { time in
            let together = others.count { $0.contains { time < $0.advanced(by: FlapGuard.wave) && $0 < time.advanced(by: FlapGuard.wave) } }
            return together == 0 || (together + 1) * 2 <= count
        }
        return own >= FlapGuard.lossesMax
    }
}
