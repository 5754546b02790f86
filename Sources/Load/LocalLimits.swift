import Glibc

/// The limits of this machine.
struct LocalLimits: Sendable {
    /// The maximum number of descriptors of one process.
    var descriptors: Int
    /// The number of free descriptors of the machine.
    var systemDescriptors = Int.max
    /// The number of ports for connections from one address to one target.
    var ports: Int

    /// Raises the soft descriptor limit of this process to the hard limit, and returns all limits.
    static func raised() -> LocalLimits {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        getrlimit(resource, &limit)
        limit.rlim_cur = limit.rlim_max
        _ = setrlimit(resource, &limit)
        getrlimit(resource, &limit)
        let range = (ProcFile.read("/proc/sys/net/ipv4/ip_local_port_range") ?? "")
            .split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        let files = (ProcFile.read("/proc/sys/fs/file-nr") ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        return LocalLimits(
            descriptors: Int(min(limit.rlim_cur, 1_000_000)),
            systemDescriptors: files.count == 3 ? max(0, files[2] - files[0]) : .max,
            ports: range.count == 2 ? max(1, range[1] - range[0] + 1) : 28_232
        )
    }

    /// The number of source addresses that these connections need. A tenth of the ports is left for other programs.
    func sourceAddresses(forConnections connections: Int) -> Int {
        let each = max(1, self.ports * 9 / 10)
        return (connections + each - 1) / each
    }
}
