import Glibc

/// What this machine allows one process.
struct LocalLimits: Sendable {
    /// Descriptors of one process.
    var descriptors: Int
    /// Descriptors that all processes of the machine may still open.
    var systemDescriptors = Int.max
    /// Ports for outgoing connections of one address to one target.
    var ports: Int

    /// Raises the soft descriptor limit to the hard one, and reads the limits.
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

    /// The number of source addresses for these connections. A tenth of the ports is left to other programs.
    func sourceAddresses(forConnections connections: Int) -> Int {
        let each = max(1, self.ports * 9 / 10)
        return (connections + each - 1) / each
    }
}
