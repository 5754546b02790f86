import Glibc
import Synchronization

/// Whether Ctrl-C was pressed. The signal handler only sets a flag; the coordinator checks it when it wakes.
enum Interruption {
    private static let seen = Atomic<Bool>(false)

    static var isRequested: Bool { self.seen.load(ordering: .relaxed) }

    /// The first signal requests the report, the second ends the program.
    static func watch() {
        _ = self.isRequested
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interruption.seen.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// A worker process is stopped by its coordinator. A terminal sends the signal to both, so the worker ignores it.
    static func ignore() {
        signal(SIGINT, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
    }
}
