/// Conditions that delay or change the controller's decisions: recent joins, mass failures, and nodes that flap, leave, return or are fenced.
struct ControllerGuards: Sendable {
    var debounce: RebalanceDebounce
    var massFailure: MassFailureGuard
    /// The newest lost incarnation of each node, so that a loss is not counted twice if the view has to be written again.
    var counted: [String: Int64] = [:]
    /// Incarnations that have announced that they leave.
    var leaving: Set<Int64> = []
    var flaps = FlapGuard()
    /// Previous owners, and the nodes that partitions wait for.
    var previous = PreviousOwners()
    /// When each fenced incarnation was last unreachable. The key is the incarnation, because another process with the same id is judged separately.
    var fenced: [Int64: ContinuousClock.Instant] = [:]
    var lastFence: ContinuousClock.Instant?
    /// Incarnations whose member znode is being removed because their port is closed.
    var evicting: Set<Int64> = []

    init(_ settings: ClusterSettings) {
        self.debounce = RebalanceDebounce(quiet: settings.joinQuiet, longest: settings.joinLongest)
        self.massFailure = MassFailureGuard(hold: settings.massFailureHold)
    }

    /// Forgets processes and nodes that are neither members nor in the view.
    mutating func prune(_ members: [String: KnownNodes.Member], _ view: ClusterView?) {
        let nodes = view?.nodes ?? []
        let incarnations = Set(members.values.map(\.incarnation)).union(nodes.compactMap(\.incarnation))
        self.evicting.formIntersection(incarnations)
        self.fenced = self.fenced.filter { incarnations.contains($0.key) }
        let ids = Set(members.keys).union(nodes.map(\.id))
        self.counted = self.counted.filter { ids.contains($0.key) }
    }
}
