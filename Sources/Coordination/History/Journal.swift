import AdminAPI

/// The events of the cluster that this node has recorded, and this node's alarm. Both are only for people. A pure value.
struct Journal: Sendable {
    private let ownID: String
    private let alarmMin: Duration
    private let wallClock: @Sendable () -> Int64
    private(set) var history = ClusterHistory()
    private var transfers = TransferHistory()
    /// The last alarm. It is kept for some time after it was last raised, because most faults are repaired before a person looks.
    private(set) var alarm: String?
    private var alarmedAt: ContinuousClock.Instant?
    /// Recent alarms. An alarm that repeats, or alternates with another one, is recorded once.
    private var recorded: [String] = []

    init(ownID: String, alarmMin: Duration, wallClock: @escaping @Sendable () -> Int64) {
        self.ownID = ownID
        self.alarmMin = alarmMin
        self.wallClock = wallClock
    }

    /// - Parameter node: the node that the event is about. Nil for this node.
    mutating func record(_ kind: ClusterEvent.Kind, about node: String? = nil, _ text: String, viewVersion: Int64) -> ClusterEvent {
        self.history.append(ClusterEvent(kind: kind, at: self.wallClock(), node: node ?? self.ownID, viewVersion: viewVersion, text: text))
    }

    /// Records an operator's request with its reason.
    mutating func record(operation text: String, about node: String, by: String, note: String, viewVersion: Int64) -> ClusterEvent {
        var event = ClusterEvent(kind: .operation, at: self.wallClock(), node: node, viewVersion: viewVersion, text: text)
        event.by = by
        event.note = note
        return self.history.append(event)
    }

    /// Records the changes of a new view.
    mutating func record(_ view: ClusterView, before: ClusterView?, _ reasons: ViewReasons) -> [ClusterEvent] {
        let at = self.wallClock()
        var events = ClusterEvent.changes(from: before, to: view, reasons, at: at)
        if let before { events += self.transfers.take(from: before, to: view, reasons, at: at) }
        return events.map { self.history.append($0) }
    }

    /// Returns the event if the alarm is new.
    mutating func raise(_ message: String, viewVersion: Int64, at now: ContinuousClock.Instant) -> ClusterEvent? {
        self.alarmedAt = now
        self.alarm = message
        guard !self.recorded.contains(message) else { return nil }
        if self.recorded.count >= 16 { self.recorded.removeFirst() }
        self.recorded.append(message)
        return self.record(.alarm, message, viewVersion: viewVersion)
    }

    /// Ends the alarm when its time is over. Returns that time while there is an alarm.
    mutating func expire(at now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
        guard let until = self.alarmedAt?.advanced(by: self.alarmMin) else { return nil }
        guard now >= until else { return until }
        self.alarm = nil
        self.alarmedAt = nil
        self.recorded = []
        return nil
    }
}
