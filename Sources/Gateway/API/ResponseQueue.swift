import DequeModule
import NIOCore

/// The answers of one connection in the order of its requests, however they become ready. A pure value.
struct ResponseQueue {
    private enum Slot {
        /// With what lets the page that asked read the answer.
        case waiting(headers: String)
        case ready(ByteBuffer, closes: Bool)
    }

    private var slots: Deque<Slot> = []
    private var first: UInt64 = 0

    /// Requests without an answer on the wire.
    var count: Int { self.slots.count }

    /// A place for the next request's answer.
    mutating func reserve(headers: String = "") -> UInt64 {
        self.slots.append(.waiting(headers: headers))
        return self.first + UInt64(self.slots.count) - 1
    }

    /// The headers that a place was reserved with.
    func headers(of index: UInt64) -> String {
        guard index >= self.first, index - self.first < UInt64(self.slots.count), case .waiting(let headers) = self.slots[Int(index - self.first)] else {
            return ""
        }
        return headers
    }

    /// Fills a place, and appends to `output` all that can go now. True when the last of it ends the connection.
    mutating func complete(_ index: UInt64, with response: ByteBuffer, closes: Bool, into output: inout ByteBuffer) -> Bool {
        guard index >= self.first, index - self.first < UInt64(self.slots.count) else { return false }
        self.slots[Int(index - self.first)] = .ready(response, closes: closes)
        while case .ready(let response, let closes)? = self.slots.first {
            self.slots.removeFirst()
            self.first += 1
            output.writeImmutableBuffer(response)
            if closes {
                // What was asked behind it is not answered: the client was told so by `Connection: close`.
                self.slots.removeAll()
                return true
            }
        }
        return false
    }
}
