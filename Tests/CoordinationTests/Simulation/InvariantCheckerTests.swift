import Testing

@testable import Coordination

/// The checker finds each kind of violation. Each row is a history of one partition, and the expected problem.
@Suite struct InvariantCheckerTests {
    private enum Step {
        /// The controller writes a view with this version, which grants the partition to a node's process.
        case write(Int64, to: String, process: Int, ownerEpoch: Int64)
        /// The controller writes a view in which the partition has no owner.
        case orphan(Int64, ownerEpoch: Int64)
        case rollBack
    }

    private static func problem(_ steps: [Step]) -> String? {
        var checker = InvariantChecker()
        var register: ClusterView?
        for step in steps {
            switch step {
            case .write(let version, let owner, let process, let ownerEpoch):
                let view = ClusterView(version: version, controllerEpoch: 1, writer: "", partitions: [.init(owner: owner, ownerEpoch: ownerEpoch)])
                checker.wrote(view, after: register, [owner: process])
                register = view
            case .orphan(let version, let ownerEpoch):
                let view = ClusterView(version: version, controllerEpoch: 1, writer: "", partitions: [.init(owner: nil, ownerEpoch: ownerEpoch)])
                checker.wrote(view, after: register, [:])
                register = view
            case .rollBack:
                checker.registerWasRolledBack()
                register = nil
            }
        }
        return checker.problem
    }

    @Test func eachHistoryShowsItsProblem() {
        let first = Step.write(1, to: "n1", process: 1, ownerEpoch: 5)
        let rows: [(steps: [Step], problem: String?)] = [
            ([first, .write(2, to: "n2", process: 2, ownerEpoch: 6)], nil),
            ([first, .write(1, to: "n2", process: 2, ownerEpoch: 6)], "view 1 was written after view 1"),
            ([first, .write(2, to: "n2", process: 2, ownerEpoch: 5)], "I1: partition 0 is granted under owner epoch 5 to n1 and n2"),
            ([first, .orphan(2, ownerEpoch: 4)], "I2: partition 0 went from owner epoch 5 to 4"),
            // After a rollback, an entry without an owner may have a lower owner epoch, but a new grant may not.
            ([first, .rollBack, .orphan(1, ownerEpoch: 4), .write(2, to: "n1", process: 2, ownerEpoch: 6)], nil),
            ([first, .rollBack, .write(1, to: "n1", process: 2, ownerEpoch: 5)], "partition 0 is granted twice under owner epoch 5, to processes 1 and 2"),
            ([first, .rollBack, .write(1, to: "n1", process: 2, ownerEpoch: 4)], "I2: partition 0 is granted under owner epoch 4, after owner epoch 5"),
        ]
        for row in rows { #expect(Self.problem(row.steps) == row.problem, "\(row.steps)") }
    }
}
