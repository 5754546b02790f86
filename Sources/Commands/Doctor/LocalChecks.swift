import AdminAPI

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Checks that are possible only on the node's machine.
enum LocalChecks {
    /// Descriptors that are not for subscribers: listeners, the log, API connections, event loops.
    private static let otherDescriptors = 64

    /// Whether the address is a loopback address and the node's process runs on this machine.
    static func isLocal(_ base: BaseURL, _ status: NodeStatus) -> Bool {
        let isLoopback = base.host == "localhost" || base.host == "::1" || base.host.hasPrefix("127.")
        return isLoopback && (try? String(contentsOfFile: "/proc/\(status.node.pid)/cmdline", encoding: .utf8))?.contains("node") == true
    }

    static func descriptors(_ status: NodeStatus) -> Check {
        guard let text = try? String(contentsOfFile: "/proc/\(status.node.pid)/limits", encoding: .utf8), let limit = self.openFilesMax(text) else {
            return .skip("descriptors", "the limits of the node's process cannot be read")
        }
        let needed = status.subscribers.connectionsMax + LocalChecks.otherDescriptors
        guard limit < needed else {
            return .ok(
                "descriptors", "the limit is \(Readable.count(limit)), enough for \(Readable.count(status.subscribers.connectionsMax)) connections")
        }
        return .warn(
            "descriptors",
            "the limit is \(Readable.count(limit)), but \(Readable.count(status.subscribers.connectionsMax)) connections need \(Readable.count(needed))",
            do: "Raise the limit (ulimit -n, or LimitNOFILE of the service), or lower the node's connections-max.")
    }

    /// The soft limit in the text of `/proc/<pid>/limits`.
    static func openFilesMax(_ text: String) -> Int? {
        guard let line = text.split(separator: "\n").first(where: { $0.hasPrefix("Max open files") }) else { return nil }
        let soft = line.split(separator: " ").dropFirst(3).first
        return soft == "unlimited" ? .max : soft.flatMap { Int($0) }
    }

    static func disk(_ status: NodeStatus) -> Check {
        guard let path = status.log.path else {
            return .ok("disk", status.log.kind == "redis" ? "the log is on Redis" : "the log is in memory: a restart loses all events")
        }
        let folder = path.hasPrefix("/") ? path : "/proc/\(status.node.pid)/cwd/\(path)"
        var space = statvfs()
        guard statvfs(folder, &space) == 0 else { return .skip("disk", "the free space of \(path) cannot be read: \(String(cString: strerror(errno)))") }
        return self.disk(path, free: Int(space.f_bavail) * Int(space.f_frsize), of: Int(space.f_blocks) * Int(space.f_frsize))
    }

    static func disk(_ path: String, free: Int, of all: Int) -> Check {
        let text = "the disk of \(path) has \(Readable.bytes(free)) of \(Readable.bytes(all)) free"
        let advice = "Delete files, or lower history-bytes-max. When the disk is full, the node refuses events."
        if free < 64 << 20 { return .fail("disk", text, do: advice) }
        if free < 1 << 30 { return .warn("disk", text, do: advice) }
        return .ok("disk", text)
    }
}
