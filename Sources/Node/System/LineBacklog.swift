/// A bounded queue of text lines. A pure value.
///
/// If the queue is full, a line is dropped and counted. All later lines are dropped too, until ``take()`` empties the queue. So the dropped lines are
/// consecutive, and the notice about them is at the right place.
struct LineBacklog {
    private let bytesMax: Int
    private var bytes: [UInt8] = []
    /// Dropped lines before `bytes`, and after `bytes`.
    private var missingBefore = 0
    private var missingAfter = 0
    /// Dropped lines since the start.
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

    /// Removes and returns all lines, and the number of dropped lines before them. Nil if there are no lines and no dropped lines.
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

    /// Must be called if taken lines could not be written. `unreported` is the number in the notice that was not written. `lost` is the number of lost lines.
    mutating func failed(unreported: Int, lost: Int) {
        self.missingBefore += unreported + lost
        self.dropped += UInt64(lost)
    }

    static func lines(_ text: some Sequence<UInt8>) -> Int { text.reduce(0) { $1 == UInt8(ascii: "\n") ? $0 + 1 : $0 } }
}
