import AdminAPI

/// Decides when a node reports that it has not joined its cluster, and why. A pure value.
///
/// Joining takes a second, so silence is right for a while; after that the reason is reported, and again after growing pauses for as long as it lasts.
package struct JoinWatch: Hashable, Sendable {
    package static let patience = Duration.seconds(5)
    package static let pauseMax = Duration.seconds(300)

    private var since: ContinuousClock.Instant?
    private var next: ContinuousClock.Instant?
    private var pause = JoinWatch.patience
    /// What it waits for, once that has lasted.
    package private(set) var reason: String?
    /// It has been in, with any of its incarnations.
    package private(set) var hasJoined = false

    package init() {}

    /// What to do now: `isToBeSaid` when the reason is due, for the seconds given; `wake` when to look again.
    ///
    /// - Parameter reason: nil when the node is in.
    mutating func look(
        _ reason: String?, isMember: Bool, at now: ContinuousClock.Instant
    ) -> (isToBeSaid: Bool, seconds: Int64, wake: ContinuousClock.Instant?) {
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
    /// What this node waits for before it is in its cluster; nil when it is in, or leaves.
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
                return "\(self.settings.chroot) does not exist in ZooKeeper, and these credentials may not make it: make it, or leave it out of zookeeper"
            }
            return "ZooKeeper does not make \(self.paths.root)\(self.lastFault)"
        case .configuring: return "\(self.paths.configuration) in ZooKeeper cannot be read\(self.alarm.map { ": " + $0 } ?? self.lastFault)"
        case .registering: return "ZooKeeper does not make \(self.paths.member(self.settings.id))\(self.lastFault)"
        case .blocked: return "another session with ZooKeeper holds the id \(self.settings.id); it is waited for until that session ends"
        case .joined(let incarnation): return self.viewObstacle(incarnation)
        case .refused, .withdrawing, .gone: return nil
        }
    }

    private var sessionObstacle: String {
        let servers = self.settings.servers
        switch self.session.loss {
        case .unresolvable?: return "a name among the ZooKeeper servers \(servers) does not resolve"
        case .unauthenticated?: return "ZooKeeper (\(servers)) refuses zookeeper-user and its password"
        case .unreachable?, .givenUp?, .expired?, nil: return "no ZooKeeper server of \(servers) gives this node a session\(self.settings.sessionFault())"
        }
    }

    /// A member, which the controller has not taken yet.
    private func viewObstacle(_ incarnation: Int64) -> String? {
        let node = self.view?.node(self.settings.id)
        if let node, node.incarnation == incarnation, node.state != .joining { return nil }
        if let obstacle { return obstacle }
        guard let controller = self.controller else {
            return "there is no controller\(self.alarm.map { ": " + $0 } ?? "; the first node that most others reach becomes it")"
        }
        guard controller.id != self.settings.id else { return self.alarm ?? "this node is the controller, and has written no view yet" }
        let place = "the controller \(controller.id)" + (controller.link.map { " at \($0)" } ?? "")
        let reach = self.links[controller.id]
        guard let reach, reach.incarnation == controller.incarnation, reach.isUp else {
            return "no link to \(place): \(reach?.reason ?? "it is being dialled")"
        }
        guard node?.incarnation == incarnation else { return "\(place) has not taken this node into the view; its log says why" }
        return "\(place), or half of the other nodes, cannot reach this node's link at \(self.settings.link): look at link-advertise, at firewalls and at "
            + "the other nodes' logs"
    }

    /// The last failure of what joining asks of ZooKeeper.
    private var lastFault: String { self.membership.fault.map { ": \($0)" } ?? "" }
}

extension ZooKeeperFailure {
    /// For a person.
    var sentence: String {
        switch self {
        case .refused(.notAuthorized, _): "not authorized"
        case .refused(let refusal, _): "refused (\(refusal))"
        case .ambiguous, .notSent: "no answer in time, as from servers without a majority"
        case .sessionLost: "the session is over"
        }
    }
}
