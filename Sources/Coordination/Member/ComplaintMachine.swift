/// What this node and its peers hold against the controller: that its port is closed, or that it does not reply although its session lives. A pure value.
///
/// ZooKeeper has nothing against such a controller, at least for seconds. When more than half of the members complain, any node that notices removes its znode,
/// and another is elected. What it might still write is refused as soon as that one has raised the epoch.
struct ComplaintMachine: Sendable {
    /// A controller acknowledges every report, so several have had no reply then.
    static let silenceMax = Duration.seconds(5)
    /// A complaint is repeated every second, and withdrawn by not repeating it.
    static let age = Duration.seconds(3)
    /// A process whose port is closed counts as dead for this long: after that its session would have ended, were it dead.
    static let deadMax = Duration.seconds(20)

    struct Facts {
        let now: ContinuousClock.Instant
        let settings: ClusterSettings
        let incarnation: Int64
        let view: ClusterView?
        let links: [String: LinkReach]
    }

    /// What to do now.
    struct Look {
        /// Peers that are to hear this node's complaint.
        var complainTo: [String] = []
        /// Why the controller's znode is to be removed.
        var deposes: String?
        var wake: ContinuousClock.Instant?
    }

    private struct Complaint: Sendable {
        var incarnation: Int64
        var epoch: Int32
        var at: ContinuousClock.Instant
    }

    private var heard: (epoch: Int32, at: ContinuousClock.Instant)?
    private var others: [String: Complaint] = [:]
    private var sentAt: ContinuousClock.Instant?

    /// The controller has sent something.
    mutating func heard(_ controller: ControllerRecord, at now: ContinuousClock.Instant) { self.heard = (controller.epoch, now) }

    mutating func received(from id: String, _ incarnation: Int64, epoch: Int32, at now: ContinuousClock.Instant) {
        self.others[id] = Complaint(incarnation: incarnation, epoch: epoch, at: now)
    }

    /// There is nothing to complain about: no link to the controller was tried, or it is this node itself.
    mutating func rest() {
        self.heard = nil
        self.sentAt = nil
    }

    /// A controller whose port is closed is dead, though its session lives on for seconds; one that does not reply, or that no link reaches, may as well be.
    /// One node alone may be wrong about that, so most have to complain: only of two, one has to be enough, and only about a closed port.
    mutating func look(at controller: ControllerRecord, _ facts: Facts) -> Look {
        guard let reach = facts.links[controller.id], reach.incarnation == controller.incarnation else {
            self.rest()
            return Look()
        }
        var look = Look()
        let due = reach.refusedSince?.advanced(by: facts.settings.refusedMin) ?? self.silentFrom(controller, at: facts.now)
        guard facts.now >= due else {
            look.wake = due
            return look
        }
        look.wake = facts.now.advanced(by: .seconds(1))
        if self.isToBeSent(at: facts.now) { look.complainTo = facts.links.up.filter { $0 != controller.id } }
        let vote = self.vote(against: controller, facts)
        let complaining = 1 + self.count(epoch: controller.epoch, among: vote.voters, at: facts.now)
        let isRefused = reach.refusedSince != nil
        if vote.isAlone {
            guard isRefused else { return look }
        } else {
            // Most of those that it should reply to, at least two, and one of them that sees most: two halves would depose each other's controllers in turn.
            let seen = vote.voters.count { id, incarnation in
                id == facts.settings.id || facts.links[id].map { $0.isUp && $0.incarnation == incarnation } ?? false
            }
            let reached = seen + (reach.isUp ? 1 : 0)
            let all = vote.voters.count + (self.isDead(reach, facts) ? 0 : 1)
            guard complaining >= 2, complaining * 2 > vote.voters.count, reached * 2 > all else { return look }
        }
        let fault = isRefused ? "refuses the connections of" : "has not answered"
        look.deposes = "the controller \(controller.id) \(fault) \(complaining) of \(vote.voters.count) members: its znode is removed"
        return look
    }

    /// When this node begins to complain about it, if it is silent until then.
    private mutating func silentFrom(_ controller: ControllerRecord, at now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        if self.heard?.epoch != controller.epoch { self.heard = (controller.epoch, now) }
        return self.heard!.at.advanced(by: Self.silenceMax)
    }

    /// True once a second.
    private mutating func isToBeSent(at now: ContinuousClock.Instant) -> Bool {
        if let sentAt, now < sentAt.advanced(by: .seconds(1)) { return false }
        self.sentAt = now
        return true
    }

    /// How many others of these members complain about the controller of that epoch.
    private mutating func count(epoch: Int32, among members: [String: Int64], at now: ContinuousClock.Instant) -> Int {
        self.others = self.others.filter { now < $0.value.at.advanced(by: Self.age) }
        return self.others.count { id, complaint in complaint.epoch == epoch && members[id] == complaint.incarnation }
    }

    /// A process whose port is closed is dead, and its session ends in seconds. One that is still a member after that is alive behind a closed port.
    private func isDead(_ reach: LinkReach, _ facts: Facts) -> Bool {
        guard let since = reach.refusedSince else { return false }
        return (facts.settings.refusedMin..<Self.deadMax).contains(since.duration(to: facts.now))
    }

    /// The members that have a say about the controller, this node among them and the controller not.
    ///
    /// A node that joins, or that is fenced, may be the one that no other node can reach: it has none unless this node reaches it. Neither has one that is dead.
    private func vote(against controller: ControllerRecord, _ facts: Facts) -> (voters: [String: Int64], isAlone: Bool) {
        var others: [String: Int64] = [:]
        for node in facts.view?.nodes ?? [] where node.state.mayOwn || node.state == .drained || facts.links.reaches(node) {
            others[node.id] = node.incarnation
        }
        others[controller.id] = nil
        others[facts.settings.id] = nil
        let isAlone = others.isEmpty
        others = others.filter { id, incarnation in
            guard let reach = facts.links[id], reach.incarnation == incarnation else { return true }
            return !self.isDead(reach, facts)
        }
        others[facts.settings.id] = facts.incarnation
        return (others, isAlone)
    }
}
