/// Cordons a node that keeps restarting or losing its session, so that it does not make its partitions move each time.
///
/// Three losses within 5 minutes cordon it for 10 minutes, and each next time for twice as long, up to 160. An hour after a cordon's end without another loss it
/// starts from the beginning. Losses of most nodes within 10 s are not theirs but ZooKeeper's or the network's, and count for none. Bounded: nodes of which nothing matters any more are forgotten at the next loss of any.
package struct FlapGuard: Hashable, Sendable {
    package static let window: Duration = .seconds(300)
    package static let lossesMax = 3
    package static let wave: Duration = .seconds(10)
    package static let cordon: Duration = .seconds(600)
    package static let doublingsMax = 4
    package static let forgiveness: Duration = .seconds(3600)

    private var nodes: [String: History] = [:]

    private struct History: Hashable, Sendable {
        var losses: [ContinuousClock.Instant] = []
        var cordons = 0
        var until: ContinuousClock.Instant?

        func matters(at now: ContinuousClock.Instant) -> Bool {
            if let until = self.until, now < until.advanced(by: FlapGuard.forgiveness) { return true }
            return self.losses.contains { now < $0.advanced(by: FlapGuard.window) }
        }
    }

    /// How many nodes are remembered.
    package var count: Int { self.nodes.count }

    package init() {}

    /// Returns until when the node is cordoned because of this loss; nil if it is not.
    ///
    /// - Parameter count: how many nodes there are.
    @discardableResult
    package mutating func lost(_ id: String, of count: Int, at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        self.nodes = self.nodes.filter { $0.value.matters(at: now) }
        var history = self.nodes[id] ?? History()
        defer { self.nodes[id] = history }
        let others = self.nodes.filter { $0.key != id }.values
        if let until = history.until, now >= until.advanced(by: FlapGuard.forgiveness) { history = History() }
        history.losses.removeAll { $0.advanced(by: FlapGuard.window) <= now }
        history.losses.append(now)
        let own = history.losses.count { time in
            let together = others.count { $0.losses.contains { time < $0.advanced(by: FlapGuard.wave) && $0 < time.advanced(by: FlapGuard.wave) } }
            return together == 0 || (together + 1) * 2 <= count
        }
        guard own >= FlapGuard.lossesMax else { return nil }
        let until = now.advanced(by: FlapGuard.cordon * (1 << min(history.cordons, FlapGuard.doublingsMax)))
        history.cordons += 1
        history.losses = []
        history.until = max(history.until ?? until, until)
        return history.until
    }

    package func isCordoned(_ id: String, at now: ContinuousClock.Instant) -> Bool {
        self.nodes[id]?.until.map { now < $0 } ?? false
    }

    /// Whether anything is held against it, a cordon that is over included.
    package func remembers(_ id: String) -> Bool { self.nodes[id] != nil }

    /// An operator says that it is well, or the node is gone for good.
    package mutating func forget(_ id: String) { self.nodes[id] = nil }
}
