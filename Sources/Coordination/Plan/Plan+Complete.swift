extension Plan {
    /// A whole rebalance from the current state, if nothing else changes. The command `plan` shows it.
    package struct Complete: Hashable, Sendable {
        /// The first round.
        package internal(set) var first = Plan()
        package internal(set) var rounds = 0
        package internal(set) var grants: [Placement] = []
        package internal(set) var moves: [NewMove] = []
        /// The view at the end.
        package internal(set) var view: ClusterView
        /// The number of moves that do not start, because the mode does not allow them.
        package internal(set) var remaining = 0
        package internal(set) var spread = 1.0
    }

    /// Plans and applies rounds until nothing is left to do. Completes the moves in flight after each round. There is at most one round for each move.
    package static func complete(_ input: PlanInput) -> Complete {
        var input = input
        var complete = Complete(view: input.view)
        while true {
            let plan = Plan(input)
            if complete.rounds == 0 { complete.first = plan }
            complete.remaining = plan.remaining
            complete.spread = plan.spreadBefore
            input.view.apply(plan)
            let moving = input.view.moving
            if plan.isEmpty, moving.isEmpty { break }
            for partition in moving { input.view.finishMove(of: partition) }
            input.view.version += 1
            complete.rounds += 1
            complete.grants += plan.grants
            complete.moves += plan.moves
        }
        complete.view = input.view
        return complete
    }
}
