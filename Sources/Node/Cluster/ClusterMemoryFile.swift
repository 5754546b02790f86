import Coordination
import Dispatch
import JSON

#if canImport(Darwin)
    import Darwin
#elseif canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The file `cluster.json` in a node's data folder. It is replaced atomically. After a crash it has either the old or the new content.
///
/// Writes run on a separate queue, because the disk may be slow.
final class ClusterMemoryFile: ClusterMemoryStore {
    private static let name = "cluster.json"

    private let folder: String
    /// The descriptor of the folder that existed at the start. If the folder is replaced, the new folder is not written to.
    private let directory: CInt
    private let queue = DispatchQueue(label: "realertime.cluster-memory")

    var path: String { self.folder + "/" + Self.name }

    init(folder: String) {
        self.folder = folder
        self.directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    }

    deinit {
        if self.directory >= 0 { close(self.directory) }
    }

    /// The content of the file. Nil if there is no file. Nil with a `problem`, a message for the log, if the file cannot be used. Blocks: call this method
    /// before the loops serve.
    func load(cluster: String) -> (RememberedCluster?, problem: String?) {
        let bytes: [UInt8]
        do {
            guard let found = try self.read() else { return (nil, nil) }
            bytes = found
        } catch {
            return (nil, "\(self.path) cannot be read (\(error)) and is ignored; \(self.setAside())")
        }
        do throws(JSONError) {
            let remembered = try RememberedCluster(json: bytes)
            guard remembered.cluster == cluster else {
                return (
                    nil, "\(self.path) belongs to the cluster \(remembered.cluster), but this node joins \(cluster): the file is ignored; \(self.setAside())"
                )
            }
            return (remembered, nil)
        } catch {
            return (nil, "\(self.path) is not valid (\(error)) and is ignored; \(self.setAside())")
        }
    }

    /// Renames the file, because an operator may need its owner epochs. Returns the rest of the message.
    private func setAside() -> String {
        renameat(self.directory, Self.name, self.directory, Self.name + ".damaged") == 0
            ? "the file was renamed to \(self.path).damaged, and the node writes a new file after it has joined the cluster"
            : "the node replaces the file after it has joined the cluster"
    }

    func save(_ bytes: [UInt8]) async -> String? {
        await withCheckedContinuation { continuation in
            self.queue.async { continuation.resume(returning: self.replace(with: bytes)) }
        }
    }

    // MARK: - The file

    private struct SystemError: Error, CustomStringConvertible {
        var description: String
        init(_ operation: String) { self.description = "\(operation): \(String(cString: strerror(errno)))" }
    }

    /// Nil if there is no file.
    private func read() throws(SystemError) -> [UInt8]? {
        let descriptor = openat(self.directory, Self.name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemError("open")
        }
        defer { close(descriptor) }
        // One byte more than the limit, so that a file over the limit is detected.
        var bytes = [UInt8](repeating: 0, count: RememberedCluster.bytesMax + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + count, $0.count - count, off_t(count)) }
            if read == 0 { break }
            if read < 0 {
                if errno == EINTR { continue }
                throw SystemError("read")
            }
            count += read
        }
        return Array(bytes.prefix(count))
    }

    private func replace(with bytes: [UInt8]) -> String? {
        do {
            try self.write(bytes, to: Self.name + ".new")
            guard renameat(self.directory, Self.name + ".new", self.directory, Self.name) == 0 else { throw SystemError("rename") }
            // The rename is durable only after the folder has been written.
            guard fsync(self.directory) == 0 else { throw SystemError("fsync \(self.folder)") }
            return nil
        } catch {
            return "\(self.path) cannot be written (\(error))"
        }
    }

    private func write(_ bytes: [UInt8], to name: String) throws(SystemError) {
        let descriptor = openat(self.directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError("open") }
        defer { close(descriptor) }
        var count = 0
        while count < bytes.count {
            let wrote = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress! + count, $0.count - count, off_t(count)) }
            if wrote < 0 {
                if errno == EINTR { continue }
                throw SystemError("write")
            }
            count += wrote
        }
        guard fsync(descriptor) == 0 else { throw SystemError("fsync") }
    }
}
