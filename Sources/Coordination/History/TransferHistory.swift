import AdminAPI

/// What partitions change hands for, over the views that carry it out: one event for a decision, however many views it takes. Pure.
///
/// A drain moves eight partitions at a time, and each of its views is seen by every member. Its event comes when its last move has ended.
struct TransferHistory: Sendable {
    /// A decision that moves partitions.
    private struct Course: Hashable {
        /// Nil when the views between were not seen.
        var reason: ClusterView.Move.Reason?
        /// The node that is drained, or that partitions are put on. Empty for balance.
        var node: String
    }

    private struct Progress {
        var transfers = Transfers()
        var givenUp = 0
    }

    /// Why partitions are granted that no move ended for.
    private enum Grant: Hashable {
        /// Its owner is gone.
        case lost(String, state: String)
        /// They had no owner, and that node had owned them.
        case owned(String)
        case orphan
        case again(String)
    }

    private var open: [Course: Progress] = [:]

    mutating func take(from old: ClusterView, to new: ClusterView, _ reasons: ViewReasons, at: Int64) -> [ClusterEvent] {
        guard old.partitions.count == new.partitions.count else {
            self.open = [:]
            return []
        }
        var grants: [Grant: Transfers] = [:]
        var inFlight: Set<Course> = []
        for (partition, (before, after)) in zip(old.partitions, new.partitions).enumerated() {
            if let move = after.move { inFlight.insert(Self.course(of: move, from: after.owner)) }
            let gained = after.ownerEpoch > before.ownerEpoch ? after.owner : nil
            if let move = before.move {
                let course = Self.course(of: move, from: before.owner)
                if gained == move.to {
                    self.open[course, default: Progress()].transfers.add(partition, from: before.owner, to: move.to)
                    continue
                }
                if after.move?.id != move.id { self.open[course, default: Progress()].givenUp += 1 }
            }
            guard let gained else { continue }
            if let course = self.unseenCourse(of: before.owner, to: gained, in: new) {
                self.open[course, default: Progress()].transfers.add(partition, from: before.owner, to: gained)
            } else {
                grants[self.grant(of: before.owner, to: gained, in: new, previous: reasons.previousOwners[partition]), default: Transfers()]
                    .add(partition, from: before.owner, to: gained)
            }
        }
        for course in inFlight where self.open[course] == nil { self.open[course] = Progress() }
        return self.events(of: grants, new, at) + self.close(except: inFlight, new, at)
    }

    private static func course(of move: ClusterView.Move, from owner: String?) -> Course {
        switch move.reason {
        case .drain: Course(reason: .drain, node: owner ?? "")
        case .operator: Course(reason: .operator, node: move.to)
        case .balance: Course(reason: .balance, node: "")
        }
    }

    /// A move that began and ended between two views that this node has seen.
    private func unseenCourse(of owner: String?, to gained: String, in new: ClusterView) -> Course? {
        guard let owner, owner != gained else { return nil }
        switch new.node(owner)?.state {
        case .draining, .drained: return Course(reason: .drain, node: owner)
        case .active, .cordoned: return Course(reason: nil, node: "")
        case .joining, .fenced, .down, nil: return nil
        }
    }

    private func grant(of owner: String?, to gained: String, in new: ClusterView, previous: String?) -> Grant {
        if owner == gained { return .again(gained) }
        if let owner { return .lost(owner, state: new.node(owner)?.state.rawValue ?? "gone") }
        return previous.map { .owned($0) } ?? .orphan
    }

    private func events(of grants: [Grant: Transfers], _ view: ClusterView, _ at: Int64) -> [ClusterEvent] {
        grants.map { grant, transfers in
            let (node, text) =
                switch grant {
                case .lost(let id, let state): (id, "\(id) is \(state): \(transfers.amount) reassigned (\(transfers.words))")
                case .owned(let id): (id, "\(transfers.amount) that \(id) had owned assigned (\(transfers.words))")
                case .orphan: (transfers.node ?? "", "\(transfers.amount) without an owner assigned (\(transfers.words))")
                case .again(let id): (id, "\(transfers.amount) granted to \(id) again")
                }
            return Self.event(.granted, node, text, transfers, view, at)
        }.sorted { $0.text < $1.text }
    }

    /// Ends what has no move in flight any more. A drain continues until its node owns nothing.
    private mutating func close(except inFlight: Set<Course>, _ view: ClusterView, _ at: Int64) -> [ClusterEvent] {
        var events: [ClusterEvent] = []
        for (course, progress) in self.open where !inFlight.contains(course) {
            if course.reason == .drain, view.node(course.node)?.state == .draining, view.partitions.contains(where: { $0.owner == course.node }) { continue }
            self.open[course] = nil
            let transfers = progress.transfers
            guard transfers.count + progress.givenUp > 0 else { continue }
            let title =
                switch course.reason {
                case .drain: "drain \(course.node): "
                case .operator: "move to \(course.node): "
                case .balance: "balance: "
                case nil: ""
                }
            let words = transfers.count > 0 ? " (\(transfers.words))" : ""
            let rest = progress.givenUp > 0 ? ", \(progress.givenUp) abandoned" : ""
            let node = course.node.isEmpty ? transfers.node ?? "" : course.node
            events.append(Self.event(.moved, node, "\(title)\(transfers.amount) moved\(words)\(rest)", transfers, view, at))
        }
        return events.sorted { $0.text < $1.text }
    }

    private static func event(
        _ kind: ClusterEvent.Kind, _ node: String, _ text: String, _ transfers: Transfers, _ view: ClusterView, _ at: Int64
    ) -> ClusterEvent {
        var event = ClusterEvent(kind: kind, at: at, node: node, viewVersion: view.version, text: text)
        event.transfers = transfers
        return event
    }
}
