public import Foundation

/// Files and folders that are deleted when this process exits. If this process is killed, the next run deletes them.
public enum TemporaryFolder {
    private static let parents = FileManager.default.temporaryDirectory
    private static let prefix = "realertime-tests-"

    private static let parent: URL = {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: Self.parents.path)) ?? [] {
            guard name.hasPrefix(Self.prefix), let pid = pid_t(name.dropFirst(Self.prefix.count)) else { continue }
            if kill(pid, 0) != 0 { try? FileManager.default.removeItem(at: Self.parents.appending(path: name)) }
        }
        let parent = Self.parents.appending(path: "\(Self.prefix)\(getpid())")
        try! FileManager.default.createDirectory(at: parent, withIntermediateDirectories: true)
        atexit { try? FileManager.default.removeItem(at: TemporaryFolder.parents.appending(path: "\(TemporaryFolder.prefix)\(getpid())")) }
        return parent
    }()

    /// An unused path, for a file or a folder.
    public static func path() -> String { self.parent.appending(path: UUID().uuidString).path }

    /// A new, empty folder.
    public static func make() -> URL {
        let folder = self.parent.appending(path: UUID().uuidString)
        try! FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}

/// Runs the body with a new folder, and then deletes the folder.
public func withTemporaryFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let folder = TemporaryFolder.make().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    return try await body(folder)
}
