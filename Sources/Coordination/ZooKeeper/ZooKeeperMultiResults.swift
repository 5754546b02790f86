import CZooKeeper

/// Memory that the C client writes the results of a multi to, some time before its completion.
///
/// Unchecked, because it is of pointers: the session's thread sets it up, then the client's completion thread alone writes and reads it. It is freed by
/// whoever removes the operation from the registry: the completion, or the session when the client has freed the handle.
final class ZooKeeperMultiResults: @unchecked Sendable {
    let results: UnsafeMutableBufferPointer<zoo_op_result_t>
    private let written: UnsafeMutableBufferPointer<Stat>
    private let hasStat: [Bool]

    init(parts: [ZooKeeperRequest.Part]) {
        self.results = .allocate(capacity: parts.count)
        self.results.initialize(repeating: zoo_op_result_t())
        self.written = .allocate(capacity: parts.count)
        self.written.initialize(repeating: Stat())
        self.hasStat = parts.map { if case .set = $0 { true } else { false } }
    }

    deinit {
        self.results.deallocate()
        self.written.deallocate()
    }

    func stat(at index: Int) -> UnsafeMutablePointer<Stat> {
        self.written.baseAddress! + index
    }

    var stats: [ZooKeeperStat?] {
        zip(self.hasStat, self.written).map { $0 ? ZooKeeperStat($1) : nil }
    }

    /// The server answers 0 for the parts before the one that it refused, and `ZRUNTIMEINCONSISTENCY` for those after it.
    var firstRefused: Int? {
        self.results.firstIndex { $0.err != ZOK.rawValue && $0.err != ZRUNTIMEINCONSISTENCY.rawValue }
    }
}
