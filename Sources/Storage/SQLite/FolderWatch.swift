import Dispatch
import Synchronization

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Notices that the files of an open log are not those that their paths lead to any more: the folder was removed, renamed or replaced.
///
/// SQLite goes on with the files that it has open, and everything that it commits to them is gone with the process. The system keeps an open file's number, so
/// that no other file can have it meanwhile.
final class FolderWatch: Sendable {
    static let interval = DispatchTimeInterval.milliseconds(500)

    private let timer: any DispatchSourceTimer & Sendable

    /// Looks every half a second, on a queue of its own, until one of the files is another or ``stop()`` is called. Then calls back once.
    init(paths: [String], onLoss: @escaping @Sendable (_ path: String) -> Void) {
        let identities = paths.map { (path: $0, identity: FileIdentity(path: $0)) }
        // The disk may hang, and only this queue with it.
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "realertime.folder")) as! DispatchSource
        timer.schedule(deadline: .now() + Self.interval, repeating: Self.interval, leeway: .milliseconds(50))
        timer.setEventHandler { [unowned timer] in
            guard let lost = identities.first(where: { $0.identity.isLost(at: $0.path) }) else { return }
            timer.cancel()
            onLoss(lost.path)
        }
        timer.activate()
        self.timer = timer
    }

    deinit { self.stop() }

    func stop() { self.timer.cancel() }
}

/// Which file a path leads to.
struct FileIdentity: Equatable {
    private var device: UInt64
    private var number: UInt64

    /// Of a file that is there.
    init(path: String) {
        var information = stat()
        guard stat(path, &information) == 0 else {
            // No file has this number: what is not there when the watch begins is missed at the first look.
            (self.device, self.number) = (0, 0)
            return
        }
        self.device = UInt64(information.st_dev)
        self.number = UInt64(information.st_ino)
    }

    /// Whether it is certain that the path leads to another file, or to none. A look that fails for another reason says nothing.
    func isLost(at path: String) -> Bool {
        var information = stat()
        guard stat(path, &information) == 0 else { return errno == ENOENT || errno == ENOTDIR }
        return self != FileIdentity(path: path)
    }
}
