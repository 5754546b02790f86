import DequeModule
import NIOCore

/// The responses of one connection. They are sent in the order of the requests, and may be completed in any order. A pure value.
struct ResponseQueue {
    private enum Slot {
        /// The response is not complete. `headers` are its CORS headers.
        case waiting(headers: String)
        case ready(ByteBuffer, closes: Bool)
    }

    private var slots: Deque<Slot> = []
    private var first: UInt64 = 0

    /// Requests whose response has not been sent.
    var count: Int { self.slots.count }

    /// Reserves the place of the next request's response. Returns its index.
    mutating func reserve(headers: String = "") -> UInt64 {
        self.slots.append(.waiting(headers: headers))
        return self.first + UInt64(self.slots.count) - 1
    }

    /// The headers that were passed to ``reserve(headers:)`` for this response.
    func headers(of index: UInt64) -> String {
        guard index >= self.first, index - self.first < UInt64(self.slots.count), case .waiting(let headers) = self.slots[Int(index - self.first)] else {
            return ""
        }
        return headers
    }

    /// Completes a response. Appends to `output` all responses that can be sent now. Returns true if the last appended response closes the
    /// connection.
    mutating func complete(_ index: UInt64, with response: ByteBuffer, closes: Bool, into output: inout ByteBuffer) -> Bool {
        guard index >= self.first, index - self.first < UInt64(self.slots.count) else { return false }
        self.slots[Int(index - self.first)] = .ready(response, closes: closes)
        while case .ready(let response, let closes)? = self.slots.first {
            self.slots.removeFirst()
            self.first += 1
            output.writeImmutableBuffer(response)
            if closes {
                // After `Connection: close` the client expects no response to its later requests.
                self.slots.removeAll()
                return true
            }
        }
        return false
    }
}
