import Glibc
import Synchronization

/// Whether Ctrl-C was pressed. The signal handler only sets a flag. The coordinator checks the flag when it wakes.
enum Interruption {
    private static let flag = Atomic<Bool>(false)

    static var isRequested: Bool { self.flag.load(ordering: .relaxed) }

    /// Installs the signal handler. The first signal requests the report, and the second ends the program.
    static func watch() {
        _ = self.isRequested
        for number in [SIGINT, SIGTERM] {
            signal(number) { number in
                Interruption.flag.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
        }
    }

    /// Ignores Ctrl-C in a worker process. A terminal sends the signal to all processes, but only the coordinator may stop the workers.
    static func ignore() {
        signal(SIGINT, SIG_IGN)
        signal(SIGTERM, SIG_IGN)
    }
}
