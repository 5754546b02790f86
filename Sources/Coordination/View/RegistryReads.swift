/// Decides when each znode of the cluster is read. A pure value. The data goes to the machines that need it.
///
/// A watch is only a hint: it marks its target dirty, and the target is read again. Every target is also read again after a while, even if no watch has fired.
struct RegistryReads: Sendable {
    enum Target: Hashable, Sendable, CaseIterable {
        case configuration, controller, view, ownMember
        /// Read by the controller only.
        case members, nodes, controllerEpoch

        /// Whether the controller also watches the children.
        fileprivate var hasChildren: Bool { self == .members || self == .nodes }
        /// Whether the znode is often absent. If so, its creation is watched too.
        fileprivate var isOftenAbsent: Bool { self == .controller || self == .view }
    }

    private struct State: Hashable, Sendable {
        var isDirty = true
        var isOpen = false
        var sentAt: ContinuousClock.Instant?
        /// After a failure, the earliest time of the next read.
        var notBefore: ContinuousClock.Instant?
        /// When the target was last read.
        var readAt: ContinuousClock.Instant?
    }

    /// The result of a reply.
    enum Outcome: Sendable {
        case found(ZooKeeperReply)
        case absent
        /// The znode did not exist. This request watches for its creation, and its reply shows whether it exists now.
        case watch(ZooKeeperRequest)
        case nothing
    }

    private let paths: ClusterPaths
    private let ownID: String
    private let rereadInterval: Duration
    private var states: [Target: State] = [:]

    init(paths: ClusterPaths, ownID: String, rereadInterval: Duration) {
        self.paths = paths
        self.ownID = ownID
        self.rereadInterval = rereadInterval
    }

    // MARK: - State

    /// Whether the target has been read, and is not known to have changed since.
    func isCurrent(_ target: Target) -> Bool { self.states[target].map { $0.readAt != nil && !$0.isDirty && !$0.isOpen } ?? false }

    func hasBeenRead(_ target: Target) -> Bool { self.states[target]?.readAt != nil }

    /// When the last request was sent. A reply to an earlier request may show an earlier state.
    func sentAt(_ target: Target) -> ContinuousClock.Instant? { self.states[target]?.sentAt }

    // MARK: - Marking

    /// Begins to read these targets, or reads them again.
    mutating func read(_ targets: Target...) { for target in targets { self.states[target, default: State()].isDirty = true } }

    /// Reads a target again, if this node reads it at all. `time` is set if the content is wrong, because then a watch may not fire.
    mutating func readAgain(_ target: Target, from time: ContinuousClock.Instant? = nil) {
        self.states[target]?.isDirty = true
        if let time { self.states[target]?.notBefore = time }
    }

    mutating func markDirty(_ paths: Set<String>) {
        for target in self.states.keys {
            let path = self.path(of: target)
            let isTouched = paths.contains(path) || (target.hasChildren && paths.contains { $0.hasPrefix(path + "/") })
            if isTouched { self.states[target]!.isDirty = true }
        }
    }

    /// The session has a connection again. Watches may have been lost with the former connection.
    mutating func reconnected() { for target in self.states.keys { self.states[target]!.isDirty = true } }

    /// Ends all reading.
    mutating func end() { self.states = [:] }

    mutating func end(_ targets: Target...) { for target in targets { self.states[target] = nil } }

    // MARK: - Reading

    /// The requests that are due now, and the times of later requests.
    mutating func next(at now: ContinuousClock.Instant) -> (requests: [(target: Target, request: ZooKeeperRequest)], wakes: [ContinuousClock.Instant]) {
        var requests: [(target: Target, request: ZooKeeperRequest)] = []
        var wakes: [ContinuousClock.Instant] = []
        for target in Target.allCases {
            guard var state = self.states[target], !state.isOpen else { continue }
            if let readAt = state.readAt {
                let due = readAt.advanced(by: self.rereadInterval)
                if now >= due { state.isDirty = true } else { wakes.append(due) }
            }
            if state.isDirty {
                if let notBefore = state.notBefore, now < notBefore {
                    wakes.append(notBefore)
                } else {
                    state.isOpen = true
                    state.sentAt = now
                    // A watch that fires after this may report a change that this read does not contain. It marks the target dirty again.
                    state.isDirty = false
                    requests.append((target, self.request(of: target)))
                }
            }
            self.states[target] = state
        }
        return (requests, wakes)
    }

    /// - Parameter jitter: random, 0 to 1. Spreads retries that many nodes would otherwise start together.
    mutating func replied(
        _ target: Target, _ result: Result<ZooKeeperReply, ZooKeeperFailure>, at now: ContinuousClock.Instant, jitter: Double
    ) -> Outcome {
        guard var state = self.states[target] else { return .nothing }
        defer { self.states[target] = state }
        state.isOpen = false
        switch result {
        case .success(.stat(nil)):
            state.readAt = now
            state.notBefore = nil
            return .absent
        case .success(.stat(_?)) where target.isOftenAbsent:
            // The znode was created between the two requests.
            state.isDirty = true
            return .nothing
        case .success(let reply):
            state.readAt = now
            state.notBefore = nil
            return .found(reply)
        case .failure(.refused(.noNode, _)) where target.isOftenAbsent:
            state.isOpen = true
            state.sentAt = now
            return .watch(.exists(path: self.path(of: target), watch: true))
        case .failure(.refused(.noNode, _)):
            state.readAt = now
            return .absent
        case .failure:
            state.isDirty = true
            state.notBefore = now.advanced(by: .milliseconds(100 + Int(200 * jitter)))
            return .nothing
        }
    }

    private func path(of target: Target) -> String {
        switch target {
        case .configuration: self.paths.configuration
        case .controller: self.paths.controller
        case .view: self.paths.view
        case .ownMember: self.paths.member(self.ownID)
        case .members: self.paths.members
        case .nodes: self.paths.nodes
        case .controllerEpoch: self.paths.controllerEpoch
        }
    }

    private func request(of target: Target) -> ZooKeeperRequest {
        let path = self.path(of: target)
        switch target {
        case .configuration, .controller, .view: return .get(path: path, watch: true)
        // Only the stat is needed.
        case .ownMember, .controllerEpoch: return .exists(path: path, watch: true)
        case .members, .nodes: return .children(path: path, watch: true)
        }
    }
}
