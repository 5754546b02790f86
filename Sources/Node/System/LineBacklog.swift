/// Lines of text that wait to be written, bounded. A pure value.
///
/// A line that finds no room is dropped and counted, and so is every later one until the backlog is taken: what is missing is then one stretch, whose place is
/// known.
struct LineBacklog {
    private let bytesMax: Int
    private var bytes: [UInt8] = []
    /// Lines that are missing before `bytes`, and after it.
    private var missingBefore = 0
    private var missingAfter = 0
    /// All lines that are missing since the start.
    private(set) var dropped: UInt64 = 0

    init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    mutating func append(_ text: String) {
        guard self.missingAfter == 0, self.bytes.count + text.utf8.count <= self.bytesMax else {
            let lines = Self.lines(text.utf8)
            self.missingAfter += lines
            self.dropped += UInt64(lines)
            return
        }
        self.bytes.append(contentsOf: text.utf8)
    }

    /// Everything that waits, and how many lines are missing before it. Nil when there is neither.
    mutating func take() -> (missing: Int, bytes: [UInt8])? {
        if self.bytes.isEmpty {
            self.missingBefore += self.missingAfter
            self.missingAfter = 0
            guard self.missingBefore > 0 else { return nil }
        }
        let taken = (self.missingBefore, self.bytes)
        self.bytes = []
        self.missingBefore = self.missingAfter
        self.missingAfter = 0
        return taken
    }

    /// What was taken could not be written: lines that were reported as missing, and lines that are now.
    mutating func failed(unreported: Int, lost: Int) {
        self.missingBefore += unreported + lost
        self.dropped += UInt64(lost)
    }

    static func lines(_ text: some Sequence<UInt8>) -> Int { text.reduce(0) { $1 == UInt8(ascii: "\n") ? $0 + 1 : $0 } }
}
