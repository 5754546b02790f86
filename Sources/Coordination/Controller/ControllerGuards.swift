/// What holds the controller's decisions back, or makes exceptions of them: joins that settle, mass failures, nodes that flap, leave, return or are fenced.
struct ControllerGuards: Sendable {
    var debounce: RebalanceDebounce
    var massFailure: MassFailureGuard
    /// The newest incarnation of each node that was seen to go: a view that has to be written twice loses it once.
    var counted: [String: Int64] = [:]
    /// Incarnations that have announced that they leave.
    var leaving: Set<Int64> = []
    var flaps = FlapGuard()
    /// Previous owners, and the nodes that partitions wait for.
    var previous = PreviousOwners()
    /// Since when an incarnation is fenced, or was last seen to be unreachable: another process of the same id is to be judged by itself.
    var fenced: [Int64: ContinuousClock.Instant] = [:]
    var lastFence: ContinuousClock.Instant?
    /// Nodes whose member znode is being removed because their port is closed.
    var evicting: Set<Int64> = []

    init(_ settings: ClusterSettings) {
        self.debounce = RebalanceDebounce(quiet: settings.joinQuiet, longest: settings.joinLongest)
        self.massFailure = MassFailureGuard(hold: settings.massFailureHold)
    }

    /// Forgets processes that are neither there nor in the view, and nodes likewise.
    mutating func prune(_ members: [String: KnownNodes.Member], _ view: ClusterView?) {
        let nodes = view?.nodes ?? []
        let incarnations = Set(members.values.map(\.incarnation)).union(nodes.compactMap(\.incarnation))
        self.evicting.formIntersection(incarnations)
        self.fenced = self.fenced.filter { incarnations.contains($0.key) }
        let ids = Set(members.keys).union(nodes.map(\.id))
        self.counted = self.counted.filter { ids.contains($0.key) }
    }
}
