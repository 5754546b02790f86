import Testing

@testable import Storage

@Suite struct CheckpointPaceTests {
    /// Commits in steps of 100 pages until a step is due.
    private func next(_ pace: inout CheckpointPace, _ pages: inout Int) -> CheckpointPace.Step {
        while true {
            pages += 100
            if let step = pace.committed(pages: pages) { return step }
        }
    }

    @Test func theWALRestartsOnlyWhenItIsLarge() {
        var pace = CheckpointPace()
        for _ in 0..<3 {
            var pages = 0
            for _ in 1...2 {
                #expect(self.next(&pace, &pages) == .copy)
                #expect(pace.committed(pages: pages) == nil, "one checkpoint at a time")
                #expect(pages < Checkpointer.restartPagesMin)
                pace.copied(pages: pages)
            }
            #expect(self.next(&pace, &pages) == .restart)
            #expect(pages >= Checkpointer.restartPagesMin && pages <= Checkpointer.restartPagesMin + 300)
            pace.restarted(pages: pages, failed: false)
            #expect(pace.committed(pages: 2) == nil)
        }
    }

    @Test func afterAFailedCommitTheNextCheckpointRestartsTheWAL() {
        var pace = CheckpointPace()
        pace.requestSoon()
        #expect(pace.committed(pages: 1) == .restart)
        // A commit fails while a checkpoint runs.
        var pages = 0
        pace.restarted(pages: 1, failed: false)
        #expect(self.next(&pace, &pages) == .copy)
        pace.requestSoon()
        pace.copied(pages: pages)
        #expect(pace.committed(pages: pages + 1) == .restart)
    }
}
