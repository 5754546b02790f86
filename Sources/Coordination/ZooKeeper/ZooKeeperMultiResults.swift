import CZooKeeper

/// Memory for the results of a multi. The C client writes to it before the completion.
///
/// `@unchecked Sendable`, because the class contains pointers. The session's thread creates the memory, and then only the client's completion thread writes and
/// reads it. The memory is freed when the operation is removed from the registry: by the completion, or by the session after the client has freed the handle.
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

    /// The server returns 0 for the parts before the one that it refused, and `ZRUNTIMEINCONSISTENCY` for those after it.
    var firstRefused: Int? {
        self.results.firstIndex { $0.err != ZOK.rawValue && $0.err != ZRUNTIMEINCONSISTENCY.rawValue }
    }
}
