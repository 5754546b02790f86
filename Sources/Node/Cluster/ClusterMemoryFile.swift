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

/// The file `cluster.json` in a node's data folder, replaced as a whole: after a crash it is the old one or the new one.
///
/// Writes run on a queue of their own, because the disk may take its time.
final class ClusterMemoryFile: ClusterMemoryStore {
    private static let name = "cluster.json"

    private let folder: String
    /// The folder that was there at the start. Another one that is put in its place is not written to.
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

    /// What was kept; nil where nothing was, or where it is of no use, and then with a sentence for the log. Blocks: call it before the loops serve.
    func load(cluster: String) -> (RememberedCluster?, problem: String?) {
        let bytes: [UInt8]
        do {
            guard let found = try self.read() else { return (nil, nil) }
            bytes = found
        } catch {
            return (nil, "\(self.path) cannot be read (\(error)): it is ignored, \(self.setAside())")
        }
        do throws(JSONFailure) {
            let remembered = try RememberedCluster(json: bytes)
            guard remembered.cluster == cluster else {
                return (nil, "\(self.path) is of the cluster \(remembered.cluster), and this node joins \(cluster): it is ignored, \(self.setAside())")
            }
            return (remembered, nil)
        } catch {
            return (nil, "\(self.path) cannot be understood (\(error)): it is ignored, \(self.setAside())")
        }
    }

    /// What another version wrote, or the owner epochs in it, may still be needed.
    private func setAside() -> String {
        renameat(self.directory, Self.name, self.directory, Self.name + ".damaged") == 0
            ? "and kept as \(self.path).damaged; the node writes a new one when it has joined" : "and replaced when the node has joined"
    }

    func save(_ bytes: [UInt8]) async -> String? {
        await withCheckedContinuation { continuation in
            self.queue.async { continuation.resume(returning: self.replace(with: bytes)) }
        }
    }

    // MARK: -

    private struct SystemFailure: Error, CustomStringConvertible {
        var description: String
        init(_ what: String) { self.description = "\(what): \(String(cString: strerror(errno)))" }
    }

    /// Nil when there is no file.
    private func read() throws(SystemFailure) -> [UInt8]? {
        let descriptor = openat(self.directory, Self.name, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemFailure("open")
        }
        defer { close(descriptor) }
        // One byte more than there may be: too long is not understood.
        var bytes = [UInt8](repeating: 0, count: RememberedCluster.bytesMax + 1)
        var count = 0
        while count < bytes.count {
            let read = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + count, $0.count - count, off_t(count)) }
            if read == 0 { break }
            if read < 0 {
                if errno == EINTR { continue }
                throw SystemFailure("read")
            }
            count += read
        }
        return Array(bytes.prefix(count))
    }

    private func replace(with bytes: [UInt8]) -> String? {
        do {
            try self.write(bytes, to: Self.name + ".new")
            guard renameat(self.directory, Self.name + ".new", self.directory, Self.name) == 0 else { throw SystemFailure("rename") }
            // The name is durable when the folder is.
            guard fsync(self.directory) == 0 else { throw SystemFailure("fsync \(self.folder)") }
            return nil
        } catch {
            return "\(self.path) cannot be written (\(error))"
        }
    }

    private func write(_ bytes: [UInt8], to name: String) throws(SystemFailure) {
        let descriptor = openat(self.directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemFailure("open") }
        defer { close(descriptor) }
        var count = 0
        while count < bytes.count {
            let wrote = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress! + count, $0.count - count, off_t(count)) }
            if wrote < 0 {
                if errno == EINTR { continue }
                throw SystemFailure("write")
            }
            count += wrote
        }
        guard fsync(descriptor) == 0 else { throw SystemFailure("fsync") }
    }
}
