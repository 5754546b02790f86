/// Why a view is another than the one before: for the history of the node that wrote it.
struct ViewReasons: Sendable {
    /// Of nodes that have become another, or are gone from the view.
    var nodes: [String: String] = [:]
    /// Of the mode.
    var mode: String?
    /// Who had owned the partitions that were nobody's and are granted now.
    var homes: [Int: String] = [:]
}

extension ViewEvolution {
    /// Made only where something is different: a view is looked at far more often than it changes.
    func reason(for state: NodeState, _ id: String, _ member: Leader.Member, _ record: NodeRecord?, _ before: ClusterView.Node?) -> String {
        switch state {
        case .joining:
            if before?.state == .fenced, before?.incarnation == member.incarnation { return "it was fenced for long enough, and too few reach it yet" }
            return before == nil ? "a new member" : before?.incarnation == nil ? "it is back" : "it has restarted, or lost its session"
        case .fenced:
            let blind = ([self.ownID] + self.blind(to: id, member).sorted()).prefix(10).joined(separator: ", ")
            return "\(blind) of \(self.leader.members.count) members cannot reach it at \(member.record.link)"
        case .cordoned where record?.desired ?? .active == .active:
            return "it restarted or lost its session \(FlapGuard.lossesMax) times within \(FlapGuard.window.components.seconds) s"
        case .active where before?.state == .cordoned:
            return self.guards.lifted[id] ?? (self.guards.flaps.remembers(id) ? nil : record?.request) ?? "its cordon is over"
        case .active where before?.state == .joining || before?.state == .fenced || before?.incarnation == nil:
            return id == self.ownID ? "it is the controller" : "the controller and half of the others reach it"
        case .active, .cordoned, .draining, .drained:
            return record?.request ?? ""
        case .down:
            return ""
        }
    }

    func reason(for mode: ClusterView.Mode) -> String {
        switch mode {
        case .guarded: "\(self.guards.massFailure.vanished.joined(separator: ", ")) vanished within \(MassFailureGuard.window.components.seconds) s"
        case .maintenance: "balancing is paused" + (self.configuration.pauseRequest.map { ", \($0)" } ?? "")
        case .normal where self.view.mode == .maintenance: "balancing is resumed"
        case .normal: self.guards.massFailure.due == nil ? "all that vanished are back" : "it was waited long enough for those that vanished"
        }
    }
}

extension NodeRecord {
    /// Who requested it, and why, for people.
    var request: String { Self.request(by: self.by, note: self.note) }

    static func request(by: String, note: String) -> String {
        "requested by \(by.isEmpty ? "an operator" : by)" + (note.isEmpty ? "" : " (\(note))")
    }
}
