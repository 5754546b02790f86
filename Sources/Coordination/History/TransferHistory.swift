import AdminAPI

/// Creates one event for each decision that changes owners of partitions, even if its moves are spread over several views. A pure value.
///
/// For example, a drain moves eight partitions at a time, and each step is a view. One event is recorded for the whole drain, when its last move has ended.
struct TransferHistory: Sendable {
    /// A decision that moves partitions.
    private struct Decision: Hashable {
        /// Nil if the move began and ended between two views that this node received.
        var reason: ClusterView.Move.Reason?
        /// The node that is drained, or the target of the moves. Empty for balance.
        var node: String
    }

    private struct Progress {
        var transfers = Transfers()
        /// The number of moves that ended without a new owner.
        var abandoned = 0
    }

    /// Why a partition was granted although no move ended.
    private enum Grant: Hashable {
        /// The owner has lost the partition. `state` is the owner's new state.
        case lost(String, state: String)
        /// The partition had no owner. The value is the id of its previous owner.
        case owned(String)
        /// The partition had no owner, and no known previous owner.
        case orphan
        /// The owner is the same, under a new owner epoch.
        case again(String)
    }

    private var open: [Decision: Progress] = [:]

    mutating func take(from old: ClusterView, to new: ClusterView, _ reasons: ViewReasons, at: Int64) -> [ClusterEvent] {
        guard old.partitions.count == new.partitions.count else {
            self.open = [:]
            return []
        }
        var grants: [Grant: Transfers] = [:]
        var inFlight: Set<Decision> = []
        for (partition, (before, after)) in zip(old.partitions, new.partitions).enumerated() {
            if let move = after.move { inFlight.insert(Self.decision(of: move, from: after.owner)) }
            let gained = after.ownerEpoch > before.ownerEpoch ? after.owner : nil
            if let move = before.move {
                let decision = Self.decision(of: move, from: before.owner)
                if gained == move.to {
                    self.open[decision, default: Progress()].transfers.add(partition, from: before.owner, to: move.to)
                    continue
                }
                if after.move?.id != move.id { self.open[decision, default: Progress()].abandoned += 1 }
            }
            guard let gained else { continue }
            if let decision = self.unseenDecision(of: before.owner, to: gained, in: new) {
                self.open[decision, default: Progress()].transfers.add(partition, from: before.owner, to: gained)
            } else {
                grants[self.grant(of: before.owner, to: gained, in: new, previous: reasons.previousOwners[partition]), default: Transfers()]
                    .add(partition, from: before.owner, to: gained)
            }
        }
        for decision in inFlight where self.open[decision] == nil { self.open[decision] = Progress() }
        return self.events(of: grants, new, at) + self.close(except: inFlight, new, at)
    }

    private static func decision(of move: ClusterView.Move, from owner: String?) -> Decision {
        switch move.reason {
        case .drain: Decision(reason: .drain, node: owner ?? "")
        case .operator: Decision(reason: .operator, node: move.to)
        case .balance: Decision(reason: .balance, node: "")
        }
    }

    /// Guesses why a partition moved, if the move began and ended between two views that this node received. Such a move is in neither view.
    private func unseenDecision(of owner: String?, to gained: String, in new: ClusterView) -> Decision? {
        guard let owner, owner != gained else { return nil }
        switch new.node(owner)?.state {
        case .draining, .drained: return Decision(reason: .drain, node: owner)
        case .active, .cordoned: return Decision(reason: nil, node: "")
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
                case .lost(let id, let state): (id, "\(id) is \(state): \(transfers.amount) reassigned (\(transfers.destinations))")
                case .owned(let id): (id, "\(transfers.amount) that \(id) owned before assigned (\(transfers.destinations))")
                case .orphan: (transfers.node ?? "", "\(transfers.amount) without an owner assigned (\(transfers.destinations))")
                case .again(let id): (id, "\(transfers.amount) granted to \(id) again")
                }
            return Self.event(.granted, node, text, transfers, view, at)
        }.sorted { $0.text < $1.text }
    }

    /// Ends the decisions without a move in flight. A drain continues until its node owns nothing.
    private mutating func close(except inFlight: Set<Decision>, _ view: ClusterView, _ at: Int64) -> [ClusterEvent] {
        var events: [ClusterEvent] = []
        for (decision, progress) in self.open where !inFlight.contains(decision) {
            if decision.reason == .drain, view.node(decision.node)?.state == .draining, view.partitions.contains(where: { $0.owner == decision.node }) {
                continue
            }
            self.open[decision] = nil
            let transfers = progress.transfers
            guard transfers.count + progress.abandoned > 0 else { continue }
            let title =
                switch decision.reason {
                case .drain: "drain \(decision.node): "
                case .operator: "move to \(decision.node): "
                case .balance: "balance: "
                case nil: ""
                }
            let words = transfers.count > 0 ? " (\(transfers.destinations))" : ""
            let rest = progress.abandoned > 0 ? ", \(progress.abandoned) abandoned" : ""
            let node = decision.node.isEmpty ? transfers.node ?? "" : decision.node
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
