#if DEBUG
    #if canImport(Glibc)
        import Glibc
    #else
        import Darwin
    #endif
#endif

/// A rule of the data path that a node breaks on purpose, so that `cluster/faults --defects` can show that a run notices it.
///
/// Only a debug build reads the environment variable `TEST_DEFECT`. In a release build no defect can be active: ``isActive`` is the constant false, and
/// the compiler removes the code that depends on it. `docs/reliability.md` lists the defects, and which rule of the checker finds each of them.
package enum Defect: String, CaseIterable, Sendable {
    /// Redis stores an append also under an owner epoch or a seal that is not the newest one.
    case appendWithoutFence = "append-without-fence"
    /// Subscribers get events before the log has stored them.
    case relayBeforeCommit = "relay-before-commit"
    /// A new owner does not raise the owner epoch in Redis.
    case skipSeal = "skip-seal"
    /// A publisher gets an owner's "moved" as "not committed".
    case movedAsFailure = "moved-as-failure"
    /// The end of an old announcement or session of a partition also ends the newer announcements of other owners.
    case teardownByPartition = "teardown-by-partition"
    /// A new session with an owner counts on the interest that the former session has reported.
    case interestKeptOverSessions = "interest-kept-over-sessions"
    /// A subscriber whose replay could not be read continues with live events.
    case replayEndsAfterCut = "replay-ends-after-cut"
    /// Publishes that wait for an owner are sent only every six seconds.
    case bufferFlushedByTimer = "buffer-flushed-by-timer"
    /// A Redis server that has lost its data counts as one that never had any.
    case positionsFromEvictedStore = "positions-from-evicted-store"

    #if DEBUG
        private static let active: Defect? = getenv("TEST_DEFECT").map { name in
            guard let defect = Defect(rawValue: String(cString: name)) else {
                fatalError("TEST_DEFECT=\(String(cString: name)) is none of \(Defect.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            return defect
        }

        package var isActive: Bool { Self.active == self }
    #else
        @inlinable package var isActive: Bool { false }
    #endif
}
