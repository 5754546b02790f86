import Partitioning

/// Decides when this node complains about the controller, and when the members' complaints are enough to depose it. A pure value.
///
/// A controller is useless if its port is closed, if no link to it can be opened, or if it does not reply although its session is valid. ZooKeeper does not detect this before the session
/// ends. When more than half of the members complain, each of them removes the controller's znode, and another node is elected. The election raises the
/// controller epoch, so ZooKeeper refuses later writes of the old controller.
struct ComplaintMachine: Sendable {
    /// A node complains after this time without a message from the controller. The controller acknowledges each report, so several reports had no reply then.
    static let silenceMax = Duration.seconds(5)
    /// A complaint is repeated every second. It ends when it has not been repeated for this long.
    static let complaintLifetime = Duration.seconds(3)
    /// A process with a closed port counts as dead for this time.
    /// A dead process loses its session in this time, so a process that is still a member then is alive.
    static let deadMax = Duration.seconds(20)

    struct Facts {
        let now: ContinuousClock.Instant
        let settings: ClusterSettings
        let incarnation: Int64
        let view: ClusterView?
        let links: [String: LinkReach]
    }

    /// What to do now.
    struct Decision: Hashable {
        /// Peers to send this node's complaint to.
        var complainTo: [String] = []
        /// The reason to remove the controller's znode. Nil if the znode stays.
        var deposes: String?
        var wake: ContinuousClock.Instant?
    }

    private struct Complaint: Sendable {
        var incarnation: Int64
        var epoch: Int32
        var at: ContinuousClock.Instant
    }

    /// When the controller of this epoch last sent a message, or when this node began to wait for one.
    private var lastMessage: (epoch: Int32, at: ContinuousClock.Instant)?
    /// The newest complaint of each peer.
    private var others: [String: Complaint] = [:]
    private var sentAt: ContinuousClock.Instant?

    /// The controller has sent a message.
    mutating func receivedMessage(of controller: ControllerRecord, at now: ContinuousClock.Instant) { self.lastMessage = (controller.epoch, now) }

    mutating func receivedComplaint(from peer: ProcessID, epoch: Int32, at now: ContinuousClock.Instant) {
        self.others[peer.id] = Complaint(incarnation: peer.incarnation, epoch: epoch, at: now)
    }

    /// This node has no complaint: it is the controller, there is no controller, or the controller has not been dialled yet.
    mutating func reset() {
        self.lastMessage = nil
        self.sentAt = nil
    }

    /// One node alone may be wrong about the controller, so most members have to complain. In a cluster of two nodes, the complaint of one node is enough, but
    /// only about a closed port.
    mutating func decide(about controller: ControllerRecord, _ facts: Facts) -> Decision {
        guard let reach = facts.links[controller.id], reach.incarnation == controller.incarnation else {
            self.reset()
            return Decision()
        }
        var decision = Decision()
        // Without a link for a while, no message can arrive, so the rest of the silence is not waited for.
        let unreachableFrom = reach.isUp ? nil : reach.since.advanced(by: facts.settings.unreachableMin)
        let silenceEnd = self.silenceEnd(of: controller, at: facts.now)
        let due = reach.refusedSince?.advanced(by: facts.settings.refusedMin) ?? unreachableFrom.map { min($0, silenceEnd) } ?? silenceEnd
        guard facts.now >= due else {
            decision.wake = due
            return decision
        }
        decision.wake = facts.now.advanced(by: .seconds(1))
        if self.isComplaintDue(at: facts.now) { decision.complainTo = facts.links.up.filter { $0 != controller.id } }
        let vote = self.vote(against: controller, facts)
        let complaining = 1 + self.count(epoch: controller.epoch, among: vote.voters, at: facts.now)
        let isRefused = reach.refusedSince != nil
        if vote.isAlone {
            guard isRefused else { return decision }
        } else {
            // More than half of the voters must complain, and at least two. This node must also reach more than half of the members. Otherwise the two halves
            // of a divided network would depose each other's controllers again and again.
            let reachedVoters = vote.voters.count { id, incarnation in
                id == facts.settings.id || facts.links[id].map { $0.isUp && $0.incarnation == incarnation } ?? false
            }
            let reached = reachedVoters + (reach.isUp ? 1 : 0)
            let all = vote.voters.count + (self.isDead(reach, facts) ? 0 : 1)
            guard complaining >= 2, complaining * 2 > vote.voters.count, reached * 2 > all else { return decision }
        }
        let fault = isRefused ? "refuses connections from" : "has not replied to"
        decision.deposes = "controller \(controller.id) \(fault) \(complaining) of \(vote.voters.count) members; its znode is removed"
        return decision
    }

    /// When this node begins to complain about the controller, unless a message from the controller arrives before.
    private mutating func silenceEnd(of controller: ControllerRecord, at now: ContinuousClock.Instant) -> ContinuousClock.Instant {
        if self.lastMessage?.epoch != controller.epoch { self.lastMessage = (controller.epoch, now) }
        return self.lastMessage!.at.advanced(by: Self.silenceMax)
    }

    /// Whether a complaint is due. It is due once a second.
    private mutating func isComplaintDue(at now: ContinuousClock.Instant) -> Bool {
        if let sentAt, now < sentAt.advanced(by: .seconds(1)) { return false }
        self.sentAt = now
        return true
    }

    /// The number of these peers that complain about the controller of that epoch.
    private mutating func count(epoch: Int32, among members: [String: Int64], at now: ContinuousClock.Instant) -> Int {
        self.others = self.others.filter { now < $0.value.at.advanced(by: Self.complaintLifetime) }
        return self.others.count { id, complaint in complaint.epoch == epoch && members[id] == complaint.incarnation }
    }

    /// Whether a process with a closed port counts as dead.
    /// After ``deadMax`` the session of a dead process has ended, so a process that is still a member is alive.
    private func isDead(_ reach: LinkReach, _ facts: Facts) -> Bool {
        guard let since = reach.refusedSince else { return false }
        return (facts.settings.refusedMin..<Self.deadMax).contains(since.duration(to: facts.now))
    }

    /// The members that vote on the controller: this node and others, without the controller.
    ///
    /// A dead member has no vote. A joining or fenced node has a vote only if this node reaches it, because such a node may be unreachable for all others.
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
