import Dispatch
import NIOConcurrencyHelpers

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Detects that the folder of an open log was removed, renamed or replaced, so that its paths no longer lead to the open files. Also detects that a file that
/// only grows was overwritten with a shorter one.
///
/// SQLite continues with the files that it has open, and everything that it commits to them is lost when the process ends. The inode number of an open file
/// is not reused, so a comparison of numbers is reliable.
final class FolderWatch: Sendable {
    static let interval = DispatchTimeInterval.milliseconds(500)

    private let timer: any DispatchSourceTimer & Sendable

    /// Checks every half a second, on its own queue, until a file has a problem or ``stop()`` is called. Then calls `onLoss` once with the problem.
    init(files: [WatchedFile], onLoss: @escaping @Sendable (_ reason: String) -> Void) {
        let files = NIOLockedValueBox(files)
        // If the disk hangs, only this queue hangs with it.
        let timer = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "realertime.folder")) as! DispatchSource
        timer.schedule(deadline: .now() + Self.interval, repeating: Self.interval, leeway: .milliseconds(50))
        // Weak: a check may be running when the watch is stopped and released.
        timer.setEventHandler { [weak timer] in
            guard let reason = files.withLockedValue({ FolderWatch.check(&$0) }) else { return }
            timer?.cancel()
            onLoss(reason)
        }
        timer.activate()
        self.timer = timer
    }

    deinit { self.stop() }

    func stop() { self.timer.cancel() }

    private static func check(_ files: inout [WatchedFile]) -> String? {
        for index in files.indices {
            if let reason = files[index].check() { return reason }
        }
        return nil
    }
}

/// The file that a path leads to, and its largest size so far.
struct WatchedFile {
    private let path: String
    /// True if the log never makes the file smaller while the file is open.
    private let onlyGrows: Bool
    private let device: UInt64
    private let number: UInt64
    private var sizeMax: Int64

    /// An existing file.
    init(path: String, onlyGrows: Bool = false) {
        var information = stat()
        // If the file is missing, its numbers are 0, which no file has. So the first check reports the missing file.
        if stat(path, &information) != 0 { information = stat() }
        self.path = path
        self.onlyGrows = onlyGrows
        self.device = UInt64(information.st_dev)
        self.number = UInt64(information.st_ino)
        self.sizeMax = Int64(information.st_size)
    }

    /// The problem of the file. Nil if there is none, or if the check itself failed, which proves nothing.
    mutating func check() -> String? {
        var information = stat()
        guard stat(self.path, &information) == 0 else {
            return errno == ENOENT || errno == ENOTDIR ? "\(self.path) does not exist" : nil
        }
        guard UInt64(information.st_dev) == self.device, UInt64(information.st_ino) == self.number else {
            return "\(self.path) is not the file that the node opened"
        }
        let size = Int64(information.st_size)
        if self.onlyGrows, size < self.sizeMax { return "\(self.path) is smaller than it was" }
        self.sizeMax = max(self.sizeMax, size)
        return nil
    }
}
