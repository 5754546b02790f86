import Foundation
import Synchronization

/// Folders that are gone after the run: with a normal exit of this process, or, after another end, with the next run.
enum TemporaryFolder {
    private static let parents = FileManager.default.temporaryDirectory
    private static let prefix = "realertime-coordination-tests-"

    private static let parent: URL = {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: Self.parents.path)) ?? [] {
            guard name.hasPrefix(Self.prefix), let pid = pid_t(name.dropFirst(Self.prefix.count)) else { continue }
            if kill(pid, 0) != 0 { try? FileManager.default.removeItem(at: Self.parents.appending(path: name)) }
        }
        atexit { try? FileManager.default.removeItem(at: TemporaryFolder.parents.appending(path: "\(TemporaryFolder.prefix)\(getpid())")) }
        return Self.parents.appending(path: "\(Self.prefix)\(getpid())")
    }()

    static func make() -> URL {
        let folder = self.parent.appending(path: UUID().uuidString)
        try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}
