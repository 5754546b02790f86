/// Decides when a node's knowledge of its cluster is written to the node's disk, and which owner epochs must not be used before such a write. A pure value.
///
/// Many views arrive while partitions move, but only the newest view is written, once a second. So the view in the file may be older than the view in use.
/// Therefore the file also contains a number far above the owner epochs in use: these owner epochs are reserved. A restarted controller grants only owner epochs
/// above that number. So no owner epoch is granted twice, even if all nodes restart and ZooKeeper has lost the writes of its last hours.
struct ClusterMemory: Sendable {
    /// The number of owner epochs in one reservation. The next reservation follows when half of them are used.
    static let reservation: Int64 = 1000
    static let interval = Duration.seconds(1)
    static let retryInterval = Duration.seconds(5)

    /// Whether the node has a folder for this file. Without a folder nothing is stored, and no owner epoch waits.
    let isKept: Bool
    /// The contents of the file when this process started.
    /// Nil after the first view or the first read of ZooKeeper, because the view in the file is used only then.
    private(set) var past: RememberedCluster?
    /// The distance from this node's number to numbers that are certainly unused. While this node was away, each process that started and was elected may have
    /// used one reservation.
    static let lostReservation: Int64 = 1 << 20

    /// This process grants only owner epochs above this number.
    private(set) var reservedAtStart: Int64
    private var stored: RememberedCluster?
    private var writing: (number: UInt64, value: RememberedCluster)?
    private var lastNumber: UInt64 = 0
    private var notBefore: ContinuousClock.Instant?
    /// Why the last write failed. The cluster continues without the file.
    private(set) var failure: String?

    init(isKept: Bool, past: RememberedCluster?) {
        self.isKept = isKept
        self.past = past
        self.reservedAtStart = past?.reservedOwnerEpoch ?? 0
        self.stored = past
    }

    mutating func takePast() -> ClusterView? {
        defer { self.past = nil }
        return self.past?.view
    }

    /// ZooKeeper has lost the view in this node's file. So it may also have lost grants that other nodes received while this node was away.
    mutating func skipLostGrants() {
        self.reservedAtStart = max(
            self.reservedAtStart, min(self.reservedAtStart + Self.lostReservation, ClusterView.ownerEpochMax - 2 * ClusterView.headroom))
    }

    /// Whether an owner epoch may be used: its reservation is on disk, or the disk cannot be written. A full or broken disk must not stop the cluster.
    func covers(_ ownerEpoch: Int64) -> Bool { !self.isKept || self.failure != nil || ownerEpoch <= self.stored?.reservedOwnerEpoch ?? 0 }

    enum Step {
        case write(number: UInt64, RememberedCluster)
        case wait(until: ContinuousClock.Instant)
        case nothing
    }

    /// - Parameter highest: the highest owner epoch that is in use, or that will be used next.
    mutating func next(
        cluster: String, configuration: ClusterConfiguration, view: ClusterView?, highest: Int64, at now: ContinuousClock.Instant
    ) -> Step {
        guard self.isKept, self.writing == nil else { return .nothing }
        var reserved = self.stored?.reservedOwnerEpoch ?? 0
        if highest + Self.reservation / 2 > reserved { reserved = highest + Self.reservation }
        let value = RememberedCluster(
            cluster: cluster, configuration: configuration, view: view ?? self.past?.view ?? self.stored?.view, reservedOwnerEpoch: reserved)
        guard value != self.stored else { return .nothing }
        let isUrgent = self.failure == nil && (reserved != self.stored?.reservedOwnerEpoch || configuration != self.stored?.configuration)
        if let notBefore, now < notBefore, !isUrgent { return .wait(until: notBefore) }
        self.lastNumber += 1
        self.writing = (self.lastNumber, value)
        return .write(number: self.lastNumber, value)
    }

    mutating func written(_ number: UInt64, failure: String?, at now: ContinuousClock.Instant) {
        guard let writing, writing.number == number else { return }
        self.writing = nil
        self.failure = failure
        self.notBefore = now.advanced(by: failure == nil ? Self.interval : Self.retryInterval)
        if failure == nil { self.stored = writing.value }
    }
}
