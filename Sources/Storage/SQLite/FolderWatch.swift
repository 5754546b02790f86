import Dispatch
import NIOConcurrencyHelpers

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Notices that the files of an open log are not those that their paths lead to any more, because the folder was removed, renamed or replaced, or that a file
/// which only grows was overwritten with a shorter one.
///
/// SQLite goes on with the files that it has open, and everything that it commits to them is gone with the process. The system keeps an open file's number, so
/// that no other file can have it meanwhile.
final class FolderWatch: Sendable {
    static let interval = DispatchTimeInterval.milliseconds(500)

    private let timer: any DispatchSourceTimer & Sendable

    /// Looks every half a second, on a queue of its own, until something is wrong with one of the files or ``stop()`` is called. Then calls back once, with
    /// what is wrong.
    init(files: [WatchedFile], onLoss: @escaping @Sendable (_ reason: String) -> Void) {
        let files = NIOLockedValueBox(files)
        // The disk may hang, and only this queue with it.
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "realertime.folder")) as! DispatchSource
        timer.schedule(deadline: .now() + Self.interval, repeating: Self.interval, leeway: .milliseconds(50))
        // Weak: a look may be under way when the watch is stopped and let go.
        timer.setEventHandler { [weak timer] in
            guard let reason = files.withLockedValue({ FolderWatch.look(at: &$0) }) else { return }
            timer?.cancel()
            onLoss(reason)
        }
        timer.activate()
        self.timer = timer
    }

    deinit { self.stop() }

    func stop() { self.timer.cancel() }

    private static func look(at files: inout [WatchedFile]) -> String? {
        for index in files.indices {
            if let reason = files[index].look() { return reason }
        }
        return nil
    }
}

/// Which file a path leads to, and how large it has been.
struct WatchedFile {
    private let path: String
    /// Nothing makes the file smaller while it is open.
    private let onlyGrows: Bool
    private let device: UInt64
    private let number: UInt64
    private var sizeMax: Int64

    /// A file that is there.
    init(path: String, onlyGrows: Bool = false) {
        var information = stat()
        // No file has this number: what is not there when the watch begins is missed at the first look.
        if stat(path, &information) != 0 { information = stat() }
        self.path = path
        self.onlyGrows = onlyGrows
        self.device = UInt64(information.st_dev)
        self.number = UInt64(information.st_ino)
        self.sizeMax = Int64(information.st_size)
    }

    /// What is certainly wrong, if something is. A look that fails for another reason says nothing.
    mutating func look() -> String? {
        var information = stat()
        guard stat(self.path, &information) == 0 else {
            return errno == ENOENT || errno == ENOTDIR ? "\(self.path) is not there" : nil
        }
        guard UInt64(information.st_dev) == self.device, UInt64(information.st_ino) == self.number else {
            return "\(self.path) is not the file that it opened"
        }
        let size = Int64(information.st_size)
        if self.onlyGrows, size < self.sizeMax { return "\(self.path) is smaller than it was" }
        self.sizeMax = max(self.sizeMax, size)
        return nil
    }
}
