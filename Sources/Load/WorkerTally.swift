import Histogram

/// The counts of one worker. The worker sends them to the coordinator as lines of text, and the coordinator adds the counts of all workers.
struct WorkerTally: Sendable {
    var connected: UInt64 = 0
    var connectFailed: UInt64 = 0
    var connectNanoseconds: UInt64 = 0
    var disconnected: UInt64 = 0
    var published: UInt64 = 0
    var publishedInWindow: UInt64 = 0
    var publishFailed: UInt64 = 0
    var backlog: UInt64 = 0
    var backlogMax: UInt64 = 0
    /// The deliveries of the whole run. A repeated delivery is not counted here.
    var received: UInt64 = 0
    var receivedInWindow: UInt64 = 0
    var expectedInWindow: UInt64 = 0
    /// The deliveries that arrived during the window, for the rate.
    var arrivedInWindow: UInt64 = 0
    var expected: UInt64 = 0
    var lost: UInt64 = 0
    var repeated: UInt64 = 0
    var reordered: UInt64 = 0
    var misdelivered: UInt64 = 0
    var bytesInWindow: UInt64 = 0
    var readsInWindow: UInt64 = 0
    var windowNanoseconds: UInt64 = 0
    var wakes: UInt64 = 0
    var fullWakes: UInt64 = 0
    /// The CPU use of the busiest worker, in millionths of a CPU.
    var cpuMillionths: UInt64 = 0
    var runDelayMillionths: UInt64 = 0
    var churned: UInt64 = 0

    /// The delivery latencies of all events of the window. Workers record each second separately, and the coordinator adds up the seconds.
    var delivery = WorkerTally.histogram()
    /// The delivery latencies of each second of the window. One more element counts all events after ``secondsMax``.
    var deliveryBySecond: [Histogram<UInt64>] = []
    var acknowledge = WorkerTally.histogram()
    var connect = WorkerTally.histogram()
    /// The delay of publishes that the load tool itself caused.
    var lateness = WorkerTally.histogram()
    /// The time to read a burst of deliveries. The load tool itself adds up to this time to the delivery latency.
    var reading = WorkerTally.histogram()
    var errors: [String: UInt64] = [:]

    static let nanosecondsMax: UInt64 = 600_000_000_000
    /// The maximum number of histograms for single seconds, because one histogram needs 200 KB.
    static let secondsMax = 120

    static func histogram() -> Histogram<UInt64> {
        Histogram(lowestDiscernibleValue: 1000, highestTrackableValue: self.nanosecondsMax, numberOfSignificantValueDigits: .three)
    }

    mutating func prepareSeconds(_ seconds: Double) {
        self.deliveryBySecond = .init(repeating: Self.histogram(), count: Int(min(seconds.rounded(.up), Double(Self.secondsMax + 1))))
    }

    /// - Parameter sent: nanoseconds from the start of the window.
    @inline(__always)
    mutating func recordDelivery(sent: UInt64, latency: UInt64) {
        let second = min(Int(truncatingIfNeeded: sent / 1_000_000_000), self.deliveryBySecond.count - 1)
        _ = self.deliveryBySecond[second].record(min(latency, Self.nanosecondsMax))
    }

    /// Call once, when the tallies of all workers are merged.
    mutating func addUpSeconds() {
        for second in self.deliveryBySecond { self.delivery.add(second) }
    }

    mutating func count(error: String) { self.errors[error, default: 0] += 1 }
}

// MARK: Merging, and lines of text

extension WorkerTally {
    typealias Count = WritableKeyPath<WorkerTally, UInt64> & Sendable
    typealias Distribution = WritableKeyPath<WorkerTally, Histogram<UInt64>> & Sendable

    private static let sums: [(name: String, path: any Count)] = [
        ("connected", \.connected), ("connect-failed", \.connectFailed), ("disconnected", \.disconnected), ("published", \.published),
        ("published-window", \.publishedInWindow), ("publish-failed", \.publishFailed), ("backlog", \.backlog), ("backlog-max", \.backlogMax),
        ("received", \.received), ("received-window", \.receivedInWindow), ("expected-window", \.expectedInWindow),
        ("arrived-window", \.arrivedInWindow), ("expected", \.expected), ("lost", \.lost), ("repeated", \.repeated), ("reordered", \.reordered),
        ("misdelivered", \.misdelivered), ("bytes-window", \.bytesInWindow), ("reads-window", \.readsInWindow), ("wakes", \.wakes),
        ("full-wakes", \.fullWakes), ("churned", \.churned),
    ]

    /// Workers run in parallel, so the maximum of these values is used.
    private static let maxima: [(name: String, path: any Count)] = [
        ("connect-time", \.connectNanoseconds), ("window-time", \.windowNanoseconds), ("cpu", \.cpuMillionths), ("run-delay", \.runDelayMillionths),
    ]

    private static let distributions: [(name: String, path: any Distribution)] = [
        ("delivery", \.delivery), ("acknowledge", \.acknowledge), ("connect", \.connect), ("lateness", \.lateness),
        ("reading", \.reading),
    ]

    mutating func merge(_ other: WorkerTally) {
        for (_, path) in Self.sums { self[keyPath: path] += other[keyPath: path] }
        for (_, path) in Self.maxima { self[keyPath: path] = max(self[keyPath: path], other[keyPath: path]) }
        for (_, path) in Self.distributions { self[keyPath: path].add(other[keyPath: path]) }
        while self.deliveryBySecond.count < other.deliveryBySecond.count { self.deliveryBySecond.append(Self.histogram()) }
        for (index, second) in other.deliveryBySecond.enumerated() { self.deliveryBySecond[index].add(second) }
        self.errors.merge(other.errors, uniquingKeysWith: +)
    }

    var lines: [String] {
        var lines = (Self.sums + Self.maxima).map { "count \($0.name) \(self[keyPath: $0.path])" }
        lines += self.errors.map { "error \($0.value) \($0.key)" }
        for (name, path) in Self.distributions { lines += Self.lines("histogram \(name)", self[keyPath: path]) }
        for (index, second) in self.deliveryBySecond.enumerated() { lines += Self.lines("second \(index)", second) }
        return lines
    }

    private static func lines(_ name: String, _ histogram: Histogram<UInt64>) -> [String] {
        var lines: [String] = []
        var line = ""
        for value in histogram.recordedValues() {
            line += " \(value.value) \(value.count)"
            if line.utf8.count > 4000 {
                lines.append(name + line)
                line = ""
            }
        }
        if !line.isEmpty { lines.append(name + line) }
        return lines
    }

    /// Reads one of the ``lines``. Ignores other lines.
    mutating func read(line: String) {
        let words = line.split(separator: " ")
        guard words.count >= 3 else { return }
        switch words[0] {
        case "count":
            guard let value = UInt64(words[2]), let entry = (Self.sums + Self.maxima).first(where: { $0.name == words[1] }) else { return }
            self[keyPath: entry.path] = value
        case "error":
            guard let count = UInt64(words[1]) else { return }
            self.errors[words[2...].joined(separator: " "), default: 0] += count
        case "histogram":
            guard let path = Self.distributions.first(where: { $0.name == words[1] })?.path else { return }
            Self.read(words[2...], into: &self[keyPath: path])
        case "second":
            guard let second = Int(words[1]), (0...Self.secondsMax).contains(second) else { return }
            while self.deliveryBySecond.count <= second { self.deliveryBySecond.append(Self.histogram()) }
            Self.read(words[2...], into: &self.deliveryBySecond[second])
        default:
            break
        }
    }

    /// Reads alternating values and counts.
    private static func read(_ words: ArraySlice<Substring>, into histogram: inout Histogram<UInt64>) {
        for index in stride(from: words.startIndex, to: words.endIndex - 1, by: 2) {
            guard let value = UInt64(words[index]), let count = UInt64(words[index + 1]) else { continue }
            _ = histogram.record(value, count: count)
        }
    }
}
