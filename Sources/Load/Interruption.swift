import Glibc
import Synchronization

/// Whether someone pressed Ctrl-C. The handler only notes it; the coordinator looks when it wakes.
enum Interruption {
    private static let seen = Atomic<Bool>(false)

    static var isRequested: Bool { self.seen.load(ordering: .relaxed) }

    /// The first signal asks for the report, the second ends the program.
    static func watch() {
        _ = self.isRequested
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interruption.seen.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// A worker process is told by its coordinator; a terminal signals both.
    static func ignore() {
        signal(SIGINT, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
    }
}
