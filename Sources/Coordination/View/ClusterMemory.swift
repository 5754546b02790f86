/// Decides when a node's knowledge of its cluster is written to its disk, and which owner epochs have to wait for that. A pure value.
///
/// Many views arrive while partitions move. Not all of them are written: the newest one is, within a second. So owner epochs are reserved: the file contains a
/// number that is far above those in use, and a restarted controller grants only above the number in its file. So no owner epoch is granted twice, even if all
/// nodes restart and ZooKeeper has lost its last hours.
struct ClusterMemory: Sendable {
    /// The number of owner epochs in one reservation. The next reservation follows when half of them are used.
    static let reservation: Int64 = 1000
    static let interval = Duration.seconds(1)
    static let retryInterval = Duration.seconds(5)

    /// Without a folder nothing is stored, and nothing waits.
    let isKept: Bool
    /// What was kept when this process started; its view until ZooKeeper has shown whether it knows a newer one.
    private(set) var past: RememberedCluster?
    /// While this node was away, others may have granted above its number: by one reservation for each process that started and was elected.
    static let lostReservation: Int64 = 1 << 20

    /// This process grants only owner epochs above this.
    private(set) var reservedAtStart: Int64
    private var stored: RememberedCluster?
    private var writing: (number: UInt64, value: RememberedCluster)?
    private var lastNumber: UInt64 = 0
    private var notBefore: ContinuousClock.Instant?
    /// Why the last write failed: the cluster continues without it.
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

    /// ZooKeeper does not know what this node's file knows, so it may not know of grants that were made while this node was away either.
    mutating func skipLostGrants() {
        self.reservedAtStart = max(
            self.reservedAtStart, min(self.reservedAtStart + Self.lostReservation, ClusterView.ownerEpochMax - 2 * ClusterView.headroom))
    }

    /// Whether an owner epoch may be used: the reservation is on disk, or the disk cannot be written: a full or broken disk must not stop the cluster.
    func covers(_ ownerEpoch: Int64) -> Bool { !self.isKept || self.failure != nil || ownerEpoch <= self.stored?.reservedOwnerEpoch ?? 0 }

    enum Step {
        case write(number: UInt64, RememberedCluster)
        case wait(until: ContinuousClock.Instant)
        case nothing
    }

    /// - Parameter highest: the highest owner epoch that is in use, or will be next.
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
