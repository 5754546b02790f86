/// A bounded queue of lines between the reader and the sender. `put` waits while the queue is full, so that fast input does not fill the memory.
actor LineQueue {
    private let bytesMax: Int
    private var lines: [LineSplitter.Line] = []
    private var bytes = 0
    private var isFinished = false
    private var reader: CheckedContinuation<Void, Never>?
    private var writer: CheckedContinuation<Void, Never>?

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    func put(_ lines: [LineSplitter.Line]) async {
        guard !lines.isEmpty else { return }
        while self.bytes >= self.bytesMax, !self.isFinished {
            await withCheckedContinuation { self.writer = $0 }
        }
        guard !self.isFinished else { return }
        self.lines += lines
        // Each line counts one byte more, so that empty lines are bounded too.
        self.bytes += lines.reduce(0) { $0 + $1.bytes.count + 1 }
        self.reader?.resume()
        self.reader = nil
    }

    /// Closes the queue, and resumes the reader and the writer.
    func finish() {
        self.isFinished = true
        self.reader?.resume()
        self.writer?.resume()
        self.reader = nil
        self.writer = nil
    }

    /// The number of the first line in the queue.
    var firstLine: Int? { self.lines.first?.number }

    /// Removes up to `count` lines. Waits while the queue is empty. An empty result means that the queue is closed.
    func take(_ count: Int) async -> [LineSplitter.Line] {
        while self.lines.isEmpty, !self.isFinished {
            await withCheckedContinuation { self.reader = $0 }
        }
        let taken = Array(self.lines.prefix(count))
        self.lines.removeFirst(taken.count)
        self.bytes -= taken.reduce(0) { $0 + $1.bytes.count + 1 }
        self.writer?.resume()
        self.writer = nil
        return taken
    }
}
