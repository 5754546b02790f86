/// The controller's knowledge about the nodes: members, operators' requests, and reports.
struct KnownNodes: Sendable {
    struct Member: Hashable, Sendable {
        var record: MemberRecord
        var incarnation: Int64
    }

    /// A node's entry in the registry.
    struct Entry: Hashable, Sendable {
        var record: NodeRecord
        /// The version of the znode. Nil if there is no znode.
        var version: Int32?
        /// Whether the znode is lost or damaged, and has to be written again.
        var isDamaged = false
    }

    struct Received: Sendable {
        var report: NodeReport
        var at: ContinuousClock.Instant
    }

    let electedAt: ContinuousClock.Instant
    var members: [String: Member] = [:]
    var entries: [String: Entry] = [:]
    /// The newest report of each node's present incarnation.
    var reports: [String: Received] = [:]

    /// The newest report of a node, if it is not outdated.
    func freshReport(of id: String, at now: ContinuousClock.Instant) -> NodeReport? {
        self.reports[id].flatMap { now < $0.at.advanced(by: NodeReport.ageMax) ? $0.report : nil }
    }
}
