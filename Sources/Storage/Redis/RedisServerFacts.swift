/// What a server says about itself, in `INFO` and `CONFIG GET`. What it does not say is nil, empty or zero.
package struct RedisServerFacts: Hashable, Sendable {
    /// Changes with each start of the process.
    package private(set) var runID = ""
    package private(set) var version = ""
    package private(set) var processID: Int?
    /// `standalone`, `cluster` or `sentinel`.
    package private(set) var mode = ""
    /// `master` or `slave`.
    package private(set) var role = ""
    /// Changes with each change of the master; a restart may keep it.
    package private(set) var replicationID = ""
    /// The server was a replica before it became a master.
    package private(set) var wasReplica = false
    package private(set) var connectedReplicas = 0
    /// Keys that were deleted because the memory was full, since the process started.
    package private(set) var evictedKeys: UInt64 = 0
    package private(set) var maxMemoryPolicy: String?
    /// Bytes. Zero means that there is no limit.
    package private(set) var maxMemory: UInt64 = 0
    package private(set) var usedMemory: UInt64 = 0
    package private(set) var aofEnabled = false
    /// `always`, `everysec` or `no`. Nil if this user may not ask.
    package private(set) var appendFsync: String?
    package private(set) var aofLastWriteFailed = false
    package private(set) var rdbLastSaveFailed = false
    /// How long the last fork stopped the server.
    package private(set) var latestForkMicroseconds: UInt64 = 0
    /// The server is loading its files, and refuses requests until it has finished.
    package private(set) var isLoading = false

    /// Reads replies to `INFO`, with any sections. A line that is not understood is ignored.
    package init(info: [String], maxMemoryPolicy: String? = nil, appendFsync: String? = nil) {
        for text in info {
            for line in text.split(whereSeparator: \.isNewline) {
                guard let colon = line.firstIndex(of: ":") else { continue }
                self.read(line[..<colon], line[line.index(after: colon)...])
            }
        }
        // What CONFIG says is the setting itself.
        self.maxMemoryPolicy = maxMemoryPolicy ?? self.maxMemoryPolicy
        self.appendFsync = appendFsync
    }

    private mutating func read(_ key: Substring, _ value: Substring) {
        switch key {
        case "run_id": self.runID = String(value)
        case "redis_version": self.version = String(value)
        case "redis_mode": self.mode = String(value)
        case "process_id": self.processID = Int(value)
        case "role": self.role = String(value)
        case "master_replid": self.replicationID = String(value)
        // Zeros, unless this server was a replica once.
        case "master_replid2": self.wasReplica = value.contains { $0 != "0" }
        case "connected_slaves": self.connectedReplicas = Int(value) ?? 0
        case "evicted_keys": self.evictedKeys = UInt64(value) ?? 0
        case "maxmemory_policy": self.maxMemoryPolicy = String(value)
        case "maxmemory": self.maxMemory = UInt64(value) ?? 0
        case "used_memory": self.usedMemory = UInt64(value) ?? 0
        case "aof_enabled": self.aofEnabled = value == "1"
        case "aof_last_write_status": self.aofLastWriteFailed = value != "ok"
        case "rdb_last_bgsave_status": self.rdbLastSaveFailed = value != "ok"
        case "latest_fork_usec": self.latestForkMicroseconds = UInt64(value) ?? 0
        case "loading": self.isLoading = value != "0"
        default: break
        }
    }

    /// The reply to `CONFIG GET` of one setting: its name and its value. Nil if the server refused or does not know the setting.
    static func setting(_ reply: RedisReply) -> String? {
        guard case .array(let pair) = reply, pair.count == 2 else { return nil }
        return pair[1].text
    }

    // MARK: - Judgement

    /// While this is equal, an absent key was never there. After a change, absence proves nothing.
    package struct Identity: Hashable, Sendable {
        package let runID: String
        package let role: String
        package let replicationID: String
        package let evictedKeys: UInt64

        /// Stored with a seal, and compared with the text of a later connection.
        var text: String { "\(self.runID) \(self.replicationID) \(self.evictedKeys)" }
    }

    package var identity: Identity {
        // The replication id counts only if the server was a replica. It also changes when the first replica is attached, and then nothing was lost.
        Identity(runID: self.runID, role: self.role, replicationID: self.wasReplica ? self.replicationID : "-", evictedKeys: self.evictedKeys)
    }

    /// Why this server cannot hold the log, as a sentence that says what to change. Nil if it can.
    ///
    /// - Parameter place: host and port.
    package func refusal(at place: String) -> String? {
        let missing = [("redis_version", self.version), ("role", self.role), ("maxmemory_policy", self.maxMemoryPolicy ?? "")].filter(\.1.isEmpty).map(\.0)
        guard missing.isEmpty else {
            return "Redis at \(place) does not say its \(missing.joined(separator: ", ")): allow this user INFO with all sections"
        }
        guard self.isVersion(atLeast: 7) else {
            return "Redis at \(place) has version \(self.version.prefix(32)), and the log needs 7.0 or later: upgrade Redis"
        }
        guard self.mode == "standalone" || self.mode.isEmpty else {
            return self.mode == "cluster"
                ? "Redis at \(place) is part of a Redis Cluster, which the log does not support: use servers with cluster-enabled no, and name all of them in redis"
                : "Redis at \(place) runs in \(self.mode.prefix(32)) mode and stores no data: use the address of its master"
        }
        guard self.role == "master" else {
            return "Redis at \(place) has the role \(self.role.prefix(32)) and is not a master: use the address of its master, or make it a master"
        }
        guard self.maxMemoryPolicy == "noeviction" else {
            return "Redis at \(place) has maxmemory-policy \((self.maxMemoryPolicy ?? "").prefix(32)), which deletes events when the memory is full:"
                + " set it to noeviction"
        }
        return nil
    }

    /// What an operator should change although the log works, one sentence each.
    package func warnings(at place: String) -> [String] {
        var warnings: [String] = []
        if !self.aofEnabled {
            warnings.append("Redis at \(place) has appendonly off: a crash loses all events since its last snapshot; set appendonly to yes")
        } else if self.appendFsync == "no" {
            warnings.append("Redis at \(place) has appendfsync no: a crash of its machine loses up to 30 s of events; set it to everysec or always")
        }
        if self.aofLastWriteFailed { warnings.append("Redis at \(place) could not write its append-only file: check its disk") }
        if self.rdbLastSaveFailed { warnings.append("Redis at \(place) could not save its last snapshot: check its disk and its memory") }
        if self.evictedKeys > 0 {
            warnings.append("Redis at \(place) has evicted \(self.evictedKeys) keys since it started: events may be missing from the history")
        }
        return warnings
    }

    private func isVersion(atLeast major: Int) -> Bool {
        guard let first = self.version.split(separator: ".", maxSplits: 1).first, let number = Int(first) else { return false }
        return number >= major
    }
}
