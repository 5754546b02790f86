import AdminAPI

/// Decides when a node reports why it has not joined its cluster. A pure value.
///
/// Joining usually takes a second, so the node first reports after ``patience``. The report is repeated after growing pauses until the node has joined.
package struct JoinWatch: Hashable, Sendable {
    package static let patience = Duration.seconds(5)
    package static let pauseMax = Duration.seconds(300)

    private var since: ContinuousClock.Instant?
    private var next: ContinuousClock.Instant?
    private var pause = JoinWatch.patience
    /// Why the node has not joined. Nil until the node has tried for ``patience``.
    package private(set) var reason: String?
    /// Whether the node has ever joined, with any incarnation.
    package private(set) var hasJoined = false

    package init() {}

    /// Returns whether the report is due, for how long the node has not joined, and when to call this again.
    ///
    /// - Parameter reason: why the node has not joined. Nil if it has joined, or is leaving.
    mutating func update(
        _ reason: String?, isMember: Bool, at now: ContinuousClock.Instant
    ) -> (isDue: Bool, seconds: Int64, wake: ContinuousClock.Instant?) {
        guard let reason else {
            let hasJoined = self.hasJoined || isMember
            self = JoinWatch()
            self.hasJoined = hasJoined
            return (false, 0, nil)
        }
        let since = self.since ?? now
        self.since = since
        let due = self.next ?? since.advanced(by: Self.patience)
        guard now >= due else {
            self.next = due
            if self.reason != nil { self.reason = reason }
            return (false, 0, due)
        }
        self.reason = reason
        self.next = now.advanced(by: self.pause)
        self.pause = min(self.pause * 2, Self.pauseMax)
        return (true, since.duration(to: now).components.seconds, self.next)
    }
}

extension ClusterMachine {
    /// Why this node has not joined its cluster. Nil if it has joined, or is leaving.
    var joinObstacle: String? {
        if self.membership.isLeaving { return nil }
        switch self.membership.state {
        case .refused, .withdrawing, .gone: return nil
        case .absent, .preparing, .configuring, .registering, .blocked, .joined: break
        }
        guard self.isConnected else { return self.sessionObstacle }
        switch self.membership.state {
        case .absent, .preparing:
            if self.membership.isChrootDenied {
                return
                    "\(self.settings.chroot) does not exist in ZooKeeper, and these credentials may not create it: create the path, or remove it from the setting zookeeper"
            }
            return "ZooKeeper has not created \(self.paths.root)\(self.lastFault)"
        case .configuring: return "\(self.paths.configuration) in ZooKeeper cannot be read\(self.alarm.map { ": " + $0 } ?? self.lastFault)"
        case .registering: return "ZooKeeper has not created \(self.paths.member(self.settings.id))\(self.lastFault)"
        case .blocked: return "another session with ZooKeeper holds the id \(self.settings.id); this node waits until that session ends"
        case .joined(let incarnation): return self.viewObstacle(incarnation)
        case .refused, .withdrawing, .gone: return nil
        }
    }

    private var sessionObstacle: String {
        let servers = self.settings.servers
        switch self.session.loss {
        case .unresolvable?: return "a host name in zookeeper \(servers) does not resolve"
        case .unauthenticated?: return "ZooKeeper (\(servers)) refuses zookeeper-user and its password"
        case .unreachable?, .givenUp?, .expired?, nil: return "no ZooKeeper server of \(servers) gives this node a session\(self.settings.sessionFault())"
        }
    }

    /// Why the controller has not accepted this member yet. Nil if the controller has accepted it.
    private func viewObstacle(_ incarnation: Int64) -> String? {
        let node = self.view?.node(self.settings.id)
        if let node, node.incarnation == incarnation, node.state != .joining { return nil }
        if let obstacle { return obstacle }
        guard let controller = self.controller else {
            return "there is no controller\(self.alarm.map { ": " + $0 } ?? "; a node that reaches half of the others will be elected")"
        }
        guard controller.id != self.settings.id else { return self.alarm ?? "this node is the controller, and has written no view yet" }
        let place = "the controller \(controller.id)" + (controller.link.map { " at \($0)" } ?? "")
        let reach = self.links[controller.id]
        guard let reach, reach.incarnation == controller.incarnation, reach.isUp else {
            return "no link to \(place): \(reach?.reason ?? "this node dials it now")"
        }
        guard node?.incarnation == incarnation else { return "\(place) has not added this node to the view; the controller's log has the reason" }
        return "\(place), or half of the other nodes, cannot reach this node's link at \(self.settings.link): check link-advertise, the firewalls and "
            + "the other nodes' logs"
    }

    /// The last failure of a request that joining needs, as the end of a sentence.
    private var lastFault: String { self.membership.fault.map { ": \($0)" } ?? "" }
}

extension ZooKeeperFailure {
    /// The failure as text for people.
    var sentence: String {
        switch self {
        case .refused(.notAuthorized, _): "not authorized"
        case .refused(let refusal, _): "refused (\(refusal))"
        case .ambiguous, .notSent: "no reply in time; perhaps the servers have no majority"
        case .sessionLost: "the session has ended"
        }
    }
}
