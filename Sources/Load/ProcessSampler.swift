import Glibc

/// The CPU time and the memory of the server's processes, from `/proc`.
struct ProcessSample: Sendable, Equatable {
    struct Usage: Sendable, Equatable {
        var pid: Int32
        var cpuSeconds: Double
        var residentBytes: UInt64
    }

    var nanoseconds: UInt64
    var processes: [Usage]

    var cpuSeconds: Double { self.processes.reduce(0) { $0 + $1.cpuSeconds } }
    var residentBytes: UInt64 { self.processes.reduce(0) { $0 + $1.residentBytes } }

    /// The user and system time between two samples, in percent of one CPU. A process that is only in one sample is not counted.
    func cpuPercent(since earlier: ProcessSample) -> Double {
        guard self.nanoseconds > earlier.nanoseconds else { return 0 }
        var used = 0.0
        for usage in self.processes {
            guard let before = earlier.processes.first(where: { $0.pid == usage.pid }) else { continue }
            used += usage.cpuSeconds - before.cpuSeconds
        }
        return used / (Double(self.nanoseconds - earlier.nanoseconds) / 1e9) * 100
    }
}

struct ProcessSampler: Sendable {
    let processIDs: [Int32]
    let measuresChildren: Bool

    func sample() -> ProcessSample {
        let all = self.measuresChildren ? self.withDescendants() : self.processIDs
        return ProcessSample(nanoseconds: Clock.now(), processes: all.compactMap(Self.usage))
    }

    static func usage(_ pid: Int32) -> ProcessSample.Usage? {
        guard let stat = ProcFile.read("/proc/\(pid)/stat"), let fields = self.fields(stat), fields.count > 13,
            let user = UInt64(fields[11]), let system = UInt64(fields[12]),
            let memory = ProcFile.read("/proc/\(pid)/statm")?.split(separator: " "), memory.count > 1, let pages = UInt64(memory[1])
        else { return nil }
        let ticks = Double(sysconf(Int32(_SC_CLK_TCK)))
        return ProcessSample.Usage(
            pid: pid, cpuSeconds: Double(user + system) / ticks, residentBytes: pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        )
    }

    /// The fields after the command name, which may contain spaces and parentheses. The first field is the state, the second the parent's id.
    static func fields(_ stat: String) -> [Substring]? {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        return stat[stat.index(after: end)...].split(whereSeparator: \.isWhitespace)
    }

    private func withDescendants() -> [Int32] {
        var children: [Int32: [Int32]] = [:]
        guard let directory = opendir("/proc") else { return self.processIDs }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let pid = Int32(name), let stat = ProcFile.read("/proc/\(pid)/stat"), let fields = Self.fields(stat), fields.count > 1,
                let parent = Int32(fields[1])
            else { continue }
            children[parent, default: []].append(pid)
        }
        var found: [Int32] = []
        var open = self.processIDs
        while let pid = open.popLast() {
            guard !found.contains(pid) else { continue }
            found.append(pid)
            open += children[pid] ?? []
        }
        return found.sorted()
    }
}
