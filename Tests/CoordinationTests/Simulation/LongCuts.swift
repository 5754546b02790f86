import AdminAPI
@testable import Coordination

/// Cuts links for 10 s to two minutes, in one direction or both, together with other faults. Everything follows from the simulation's seed.
struct LongCuts {
    let simulation: Simulation
    let count: Int

    /// Schedules all faults. Returns the time when the last cut is healed.
    func schedule() -> Duration {
        var end = Duration.seconds(60)
        for _ in 0..<(self.simulation.chance(40) ? 2 : 1) {
            let from = self.simulation.milliseconds(15_000...30_000)
            let duration = self.simulation.milliseconds(self.simulation.chance(30) ? 10_000...60_000 : 60_000...120_000)
            end = max(end, from + duration)
            self.cut(from, duration)
        }
        if self.simulation.chance(70) { self.drain(after: self.simulation.milliseconds(15_000...50_000)) }
        for _ in 0..<Int.random(in: 0...3, using: &self.simulation.random) { self.trouble(after: self.simulation.milliseconds(15_000...60_000)) }
        return end + .seconds(1)
    }

    private func anyNode() -> String { "n\(Int.random(in: 1...self.count, using: &self.simulation.random))" }

    private func cut(_ from: Duration, _ duration: Duration) {
        let kind = Int.random(in: 0..<5, using: &self.simulation.random)
        let direction = Int.random(in: 0..<3, using: &self.simulation.random)
        let (one, other) = (self.anyNode(), self.anyNode())
        // Some cuts begin during a handoff.
        let waits = self.simulation.chance(25)
        self.simulation.after(from) {
            let body = {
                let controller = self.simulation.leading?.id ?? one
                let centre = kind < 2 ? one : controller
                // A random pair, a node and all others, the controller and one node, or the controller and all others.
                let peers = kind == 0 || kind == 2 ? [other] : (1...self.count).map { "n\($0)" }
                var pairs: [[String]] = []
                for peer in peers where peer != centre {
                    if direction != 0 { pairs.append([centre, peer]) }
                    if direction != 1 { pairs.append([peer, centre]) }
                }
                self.simulation.note("cut for \(duration): \(pairs.map { $0.joined(separator: "->") }.joined(separator: " "))")
                self.simulation.cuts.add(pairs)
                self.simulation.after(duration) {
                    self.simulation.note("healed: \(pairs.map { $0.joined(separator: "->") }.joined(separator: " "))")
                    self.simulation.cuts.heal(pairs)
                }
            }
            if waits { self.simulation.whenHandingOver(within: .seconds(5), body) } else { body() }
        }
    }

    private func trouble(after delay: Duration) {
        let id = self.anyNode()
        let kind = Int.random(in: 0..<6, using: &self.simulation.random)
        let duration = self.simulation.milliseconds(50...9000)
        self.simulation.after(delay) {
            switch kind {
            case 0, 1: if let session = self.simulation.node(id)?.session { self.simulation.server.end(session) }
            case 2, 3:
                self.simulation.whenHandingOver(within: .seconds(20)) {
                    guard !self.simulation.isPeace, let controller = self.simulation.leading else { return }
                    controller.crash()
                    self.simulation.after(duration) { self.simulation.startAgain(controller.id) }
                }
            case 4: self.simulation.node(id)?.disconnect(for: duration)
            default:
                self.simulation.node(id)?.crash()
                self.simulation.after(duration) { self.simulation.startAgain(id) }
            }
        }
    }

    /// An operator repeats the request until it has succeeded.
    private func drain(after delay: Duration) {
        let (id, at) = (self.anyNode(), self.anyNode())
        self.simulation.after(delay) {
            self.simulation.note("an operator at \(at) drains \(id)")
            self.simulation.liveness?.requestDrain(id, at: at, self.simulation.now)
            self.simulation.insist(AdminRequest(.drain, node: id), at: at)
        }
    }
}

extension Simulation {
    /// The first node that considers itself the controller. A deposed controller may not know yet that it was deposed.
    fileprivate var leading: SimulatedNode? { self.sortedNodes.first { $0.isAlive && $0.machine.isController } }

    fileprivate func startAgain(_ id: String) { if !(self.node(id)?.isAlive ?? true) { self.startNode(id) } }

    /// Repeats a request until it has succeeded, or until the faults are over.
    fileprivate func insist(_ request: AdminRequest, at id: String) {
        guard !self.isPeace else { return }
        let node = self.node(id)
        let number = node?.request(request)
        self.after(.seconds(6)) { [unowned self] in
            if let number, node?.responses[number]?.isSuccess == true {
                self.liveness?.accepted(request.node ?? "")
            } else {
                self.insist(request, at: id)
            }
        }
    }

    /// Runs the body during a handoff, or at the end of the given time if there is no handoff.
    func whenHandingOver(within patience: Duration, _ body: @escaping () -> Void) {
        let isSealed = self.sortedNodes.contains { node in node.isAlive && node.machine.ownership.values.contains { $0.state == .sealed || $0.isHandingOver } }
        guard !isSealed, patience > .zero else { return self.after(self.milliseconds(0...20), body) }
        self.after(.milliseconds(10)) { [unowned self] in self.whenHandingOver(within: patience - .milliseconds(10), body) }
    }

    /// Checks liveness twice a second while faults last.
    func watchLiveness(_ count: Int) {
        self.liveness = LivenessChecker(count: count)
        self.lookAtLiveness()
    }

    private func lookAtLiveness() {
        self.after(.milliseconds(500)) { [unowned self] in
            guard !self.isPeace, var liveness = self.liveness else { return }
            if let problem = liveness.check(self) { self.checker.fail(problem) }
            self.liveness = liveness
            self.lookAtLiveness()
        }
    }
}
