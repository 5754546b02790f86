/// What this node and its peers hold against the controller: that its port is closed, or that it does not answer although its session lives. A pure value.
///
/// ZooKeeper has nothing against such a controller, at least for seconds. When more than half of the members complain, whoever notices removes its node, and
/// another is elected. What it might still write is refused as soon as that one has raised the epoch.
struct Complaints: Sendable {
    /// A controller answers every report, so several have gone unanswered then.
    static let silenceMax = Duration.seconds(5)
    /// A complaint is repeated every second, and taken back by not repeating it.
    static let age = Duration.seconds(3)
    /// A process whose port is closed counts as dead for so long: after that its session would have ended, were it dead.
    static let deadMax = Duration.seconds(20)

    private struct Complaint: Sendable {
        var incarnation: Int64
        var epoch: Int32
        var at: ContinuousClock.Instant
    }

    private var heard: (epoch: Int32, at: ContinuousClock.Instant)?
    private var others: [String: Complaint] = [:]
    private var saidAt: ContinuousClock.Instant?

    mutating func heard(_ controller: ControllerRecord, at now: ContinuousClock.Instant) { self.heard = (controller.epoch, now) }

    mutating func received(from id: String, _ incarnation: Int64, epoch: Int32, at now: ContinuousClock.Instant) {
        self.others[id] = Complaint(incarnation: incarnation, epoch: epoch, at: now)
    }

    /// Nobody is complained about: no link to it was tried, or it is this node itself.
    mutating func rest() {
        self.heard = nil
        self.saidAt = nil
    }

    /// When this node begins to complain about it, if it is silent until then.
    mutating func due(_ controller: ControllerRecord, at now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        if self.heard?.epoch != controller.epoch { self.heard = (controller.epoch, now) }
        return self.heard!.at.advanced(by: Self.silenceMax)
    }

    /// True once a second.
    mutating func isToBeSaid(at now: ContinuousClock.Instant) -> Bool {
        if let saidAt, now < saidAt.advanced(by: .seconds(1)) { return false }
        self.saidAt = now
        return true
    }

    /// How many others of these members complain about the controller of that epoch.
    mutating func count(epoch: Int32, among members: [String: Int64], at now: ContinuousClock.Instant) -> Int {
        self.others = self.others.filter { now < $0.value.at.advanced(by: Self.age) }
        return self.others.count { id, complaint in complaint.epoch == epoch && members[id] == complaint.incarnation }
    }
}

extension ClusterMachine {
    /// A controller whose port is closed is dead, though its session lives on for seconds; one that does not answer, or that no link reaches, may as well be.
    /// One node alone may be wrong about that, so most have to say so: only of two, one has to be enough, and only about a closed port.
    mutating func reconcileComplaints(_ turn: inout Turn) {
        guard let controller = self.controller, controller.id != self.settings.id, self.isConnected, let incarnation = self.incarnation, !self.isLeaving,
            let reach = self.links[controller.id], reach.incarnation == controller.incarnation
        else { return self.complaints.rest() }
        let due = reach.refusedSince?.advanced(by: self.settings.refusedMin) ?? self.complaints.due(controller, at: turn.now)
        guard turn.now >= due else { return turn.wake(at: due) }
        turn.wake(at: turn.now.advanced(by: .seconds(1)))
        if self.complaints.isToBeSaid(at: turn.now) {
            for (id, reach) in self.links.sorted(by: { $0.key < $1.key }) where reach.isUp && id != controller.id {
                self.send(.complaint(epoch: controller.epoch), to: id, &turn)
            }
        }
        let vote = self.vote(against: controller, incarnation, at: turn.now)
        let complaining = 1 + self.complaints.count(epoch: controller.epoch, among: vote.voters, at: turn.now)
        let isRefused = reach.refusedSince != nil
        if vote.isAlone {
            guard isRefused else { return }
        } else {
            // Most of those that it should answer, at least two, and one of them that sees most: two halves would depose each other's controllers in turn.
            let seen = vote.voters.count { id, incarnation in
                id == self.settings.id || self.links[id].map { $0.isUp && $0.incarnation == incarnation } ?? false
            }
            let reached = seen + (reach.isUp ? 1 : 0)
            let all = vote.voters.count + (self.isDead(reach, at: turn.now) ? 0 : 1)
            guard complaining >= 2, complaining * 2 > vote.voters.count, reached * 2 > all else { return }
        }
        let fault = isRefused ? "refuses the connections of" : "has not answered"
        self.depose(controller, "the controller \(controller.id) \(fault) \(complaining) of \(vote.voters.count) members: its node is removed", &turn)
    }

    /// A process whose port is closed is dead, and its session ends in seconds. One that is still a member after that is alive behind a closed port.
    private func isDead(_ reach: LinkReach, at now: ContinuousClock.Instant) -> Bool {
        guard let since = reach.refusedSince else { return false }
        return (self.settings.refusedMin..<Complaints.deadMax).contains(since.duration(to: now))
    }

    /// The members that have a say about the controller, this node among them and the controller not.
    ///
    /// A node that joins, or that is fenced, may be the one that no other node can reach: it has none unless this node reaches it. Neither has one that is dead.
    private func vote(against controller: ControllerRecord, _ incarnation: Int64, at now: ContinuousClock.Instant) -> (voters: [String: Int64], isAlone: Bool) {
        var others: [String: Int64] = [:]
        for node in self.view?.nodes ?? [] {
            let isReached = self.links[node.id].map { $0.isUp && $0.incarnation == node.incarnation } ?? false
            if node.state.mayOwn || node.state == .drained || isReached { others[node.id] = node.incarnation }
        }
        others[controller.id] = nil
        others[self.settings.id] = nil
        let isAlone = others.isEmpty
        others = others.filter { id, incarnation in
            guard let reach = self.links[id], reach.incarnation == incarnation else { return true }
            return !self.isDead(reach, at: now)
        }
        others[self.settings.id] = incarnation
        return (others, isAlone)
    }
}
