#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// How many processors this process may use, and which setting determines the number. A machine may have more.
struct Processors: Equatable, Sendable {
    let count: Int
    let source: String

    /// - Parameters:
    ///   - affinity: the number of processors that the threads may run on.
    ///   - quota: the CPU time that the control group may use, in processors. Nil without a quota.
    init(affinity: Int, quota: Double?) {
        // Rounded down: if the loops use up the quota, the kernel stops them until the next period.
        let allowed = quota.map { max(1, Int($0.rounded(.down))) } ?? .max
        self.count = max(1, min(affinity, allowed))
        if let quota, allowed < affinity {
            let hundredths = Int((quota * 100).rounded())
            let fraction = hundredths % 100
            self.source = "the cgroup's quota of \(hundredths / 100)\(fraction == 0 ? "" : ".\(fraction < 10 ? "0" : "")\(fraction)") processors"
        } else {
            self.source = "the processor affinity"
        }
    }

    static let ofThisProcess = Processors(
        affinity: Self.affinity(status: Self.text("/proc/self/status") ?? "", online: max(1, sysconf(CInt(_SC_NPROCESSORS_ONLN)))),
        quota: Self.quota(cgroups: Self.text("/proc/self/cgroup") ?? "", read: Self.text))

    // MARK: - The quota

    /// The smallest quota of the control groups and their parents, in versions 1 and 2.
    ///
    /// - Parameters:
    ///   - cgroups: the text of `/proc/self/cgroup`, lines `0::/path` (version 2) and `4:cpu,cpuacct:/path` (version 1).
    ///   - read: the text of a file, nil if it cannot be read.
    static func quota(cgroups: String, read: (String) -> String?) -> Double? {
        var quotas: [Double] = []
        for line in cgroups.split(separator: "\n") {
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let isVersion2 = fields[0] == "0" && fields[1].isEmpty
            guard isVersion2 || fields[1].split(separator: ",").contains("cpu") else { continue }
            let mounts = isVersion2 ? ["/sys/fs/cgroup"] : ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/\(fields[1])"]
            for mount in mounts {
                for folder in self.withParents(fields[2]) {
                    quotas += [isVersion2 ? self.quota2(mount + folder, read) : self.quota1(mount + folder, read)].compactMap(\.self)
                }
            }
        }
        return quotas.min()
    }

    /// `/a/b`, `/a` and the root. In a container maybe only the root exists. The root is then the container's own group.
    private static func withParents(_ path: Substring) -> [String] {
        var parents = [""]
        for part in path.split(separator: "/") { parents.append(parents.last! + "/" + part) }
        return parents
    }

    private static func quota2(_ folder: String, _ read: (String) -> String?) -> Double? {
        let fields = read(folder + "/cpu.max")?.split { $0 == " " || $0 == "\n" } ?? []
        guard fields.count == 2, let quota = Double(fields[0]), let period = Double(fields[1]), quota > 0, period > 0 else { return nil }
        return quota / period
    }

    private static func quota1(_ folder: String, _ read: (String) -> String?) -> Double? {
        func number(_ name: String) -> Double? { read(folder + "/" + name)?.split(separator: "\n").first.flatMap { Double($0) } }
        guard let quota = number("cpu.cfs_quota_us"), let period = number("cpu.cfs_period_us"), quota > 0, period > 0 else { return nil }
        return quota / period
    }

    // MARK: - The system

    /// The number of online processors that the line `Cpus_allowed_list: 0-3,8` of `/proc/self/status` allows. Without the line: all online processors.
    ///
    /// The list may also contain processors that can be added to a virtual machine later.
    static func affinity(status: String, online: Int) -> Int {
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed_list:") }) else { return online }
        var count = 0
        for range in line.dropFirst("Cpus_allowed_list:".count).split(separator: ",") {
            let bounds = range.split(separator: "-").map { Int($0.filter(\.isNumber)) }
            guard let first = bounds.first ?? nil, let last = bounds.last ?? nil, first <= last else { return online }
            count += last - first + 1
        }
        return count > 0 ? min(count, online) : online
    }

    private static func text(_ path: String) -> String? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 16_384)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
