import TestKit

@testable import Coordination

/// A cluster in virtual time: machines, links, operators, and a ZooKeeper with all faults that its rules allow. Everything follows from one seed.
///
/// Single-threaded and deterministic: the same seed makes the same run. A failure names its seed.
final class Simulation {
    struct Failure: Error, CustomStringConvertible {
        var description: String
    }

    let seed: UInt64
    var random: SplitMix
    private(set) var now: ContinuousClock.Instant
    let start: ContinuousClock.Instant
    private var queue: [(time: ContinuousClock.Instant, order: Int, body: () -> Void)] = []
    private var nextOrder = 0
    let server: FakeZooKeeper
    private(set) var nodes: [String: SimulatedNode] = [:]
    var cuts = Cuts()
    var checker = InvariantChecker()
    var liveness: LivenessChecker?
    /// One test sets this to true. Then complaints about the controller are lost.
    var losesComplaints = false
    /// The disk of each node, which keeps its content when the process ends.
    var disks: [String: [UInt8]] = [:]
    var keepsMemory = true
    var failsToKeep = false
    /// Whether the log refuses some seals, some targets of moves cannot be reached, and some operations of ZooKeeper take seconds.
    var hasSmallFaults = true
    /// The faults are over, and operators have withdrawn their requests.
    var isPeace = false
    private(set) var trace: [String] = []
    private(set) var steps = 0
    let partitionCount: Int
    var nextProcess = 1
    /// The log that all nodes share. Nil if each node has its own log.
    var log: FencingLog?

    init(seed: UInt64, partitionCount: Int, isFenced: Bool = true, isLogFencing: Bool = false) {
        self.seed = seed
        self.random = SplitMix(seed: seed)
        self.partitionCount = partitionCount
        self.start = .now
        self.now = self.start
        self.server = FakeZooKeeper()
        self.server.isFenced = isFenced
        self.server.simulation = self
        if isLogFencing {
            self.log = FencingLog(partitionCount: partitionCount)
            self.publish()
        }
    }

    // MARK: - Time

    func after(_ delay: Duration, _ body: @escaping () -> Void) { self.at(self.now.advanced(by: delay), body) }

    func at(_ time: ContinuousClock.Instant, _ body: @escaping () -> Void) {
        self.nextOrder += 1
        self.queue.append((max(time, self.now), self.nextOrder, body))
        var index = self.queue.count - 1
        while index > 0, self.isBefore(index, (index - 1) / 2) {
            self.queue.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        (self.queue[left].time, self.queue[left].order) < (self.queue[right].time, self.queue[right].order)
    }

    /// Runs until the given time. Throws as soon as a check fails.
    func run(until end: Duration) throws {
        let end = self.start.advanced(by: end)
        while let first = self.queue.first, first.time <= end {
            let last = self.queue.removeLast()
            if !self.queue.isEmpty {
                self.queue[0] = last
                var index = 0
                while true {
                    var least = index
                    for child in [2 * index + 1, 2 * index + 2] where child < self.queue.count && self.isBefore(child, least) { least = child }
                    if least == index { break }
                    self.queue.swapAt(index, least)
                    index = least
                }
            }
            self.now = first.time
            self.steps += 1
            if self.steps > 1_000_000 { self.checker.fail("the simulation does not settle") }
            first.body()
            if let problem = self.checker.problem {
                throw Failure(description: "seed \(self.seed), step \(self.steps): \(problem)\n" + self.trace.suffix(60).joined(separator: "\n"))
            }
        }
        self.now = max(self.now, end)
    }

    /// Whether effects are traced: only in the last steps of a run that does not settle.
    var isTracingActions: Bool { self.steps > 999_900 }

    func note(_ text: @autoclosure () -> String) {
        let milliseconds = (self.now - self.start).components
        self.trace.append("\(milliseconds.seconds * 1000 + milliseconds.attoseconds / 1_000_000_000_000_000) ms \(text())")
        if self.trace.count > 400 { self.trace.removeFirst(200) }
    }

    func milliseconds(_ range: ClosedRange<Int>) -> Duration { .milliseconds(Int.random(in: range, using: &self.random)) }
    func microseconds(_ range: ClosedRange<Int>) -> Duration { .microseconds(Int.random(in: range, using: &self.random)) }
    func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self.random) < percent }

    // MARK: - Nodes

    func node(_ id: String) -> SimulatedNode? { self.nodes[id] }
    var sortedNodes: [SimulatedNode] { self.nodes.values.sorted { $0.id < $1.id } }

    func startNode(_ id: String) {
        self.note("\(id) starts")
        let node = SimulatedNode(id: id, process: self.nextProcess, in: self)
        self.nextProcess += 1
        self.nodes[id] = node
        node.connect()
    }

    func isReachable(_ from: String, _ to: String) -> Bool { !self.cuts.contains(from, to) }
}
