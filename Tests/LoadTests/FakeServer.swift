import Glibc
import Synchronization

@testable import Load

/// A small fan-out server that can cause faults. GET subscribes to the channel in the path's last part, and POST publishes to it. One thread, blocking sends.
final class FakeServer: Sendable {
    enum Wrapping: Sendable { case sse, webSocket, longPoll, chunked }

    /// Each number n causes a fault at every n-th delivery. 0 causes no fault.
    struct Faults: Sendable {
        var dropsEvery = 0
        var repeatsEvery = 0
        /// Every n-th event of a connection arrives after the next event.
        var swapsEvery = 0
        /// Every n-th publish gets a 503 although its event was delivered.
        var liesEvery = 0
    }

    let port: UInt16
    let dropped = Atomic<Int>(0)
    let repeated = Atomic<Int>(0)
    let swapped = Atomic<Int>(0)
    let pongs = Atomic<Int>(0)
    private let listener: Int32
    private let stopping = Atomic<Bool>(false)

    init(_ wrapping: Wrapping, faults: Faults = Faults()) {
        self.listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = self.listener
        self.port = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                precondition(bind(listener, $0, length) == 0 && listen(listener, 512) == 0)
                getsockname(listener, $0, &length)
            }
            return UInt16(bigEndian: pointer.pointee.sin_port)
        }
        let box = Unmanaged.passRetained(Session(server: self, wrapping: wrapping, faults: faults))
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            {
                Unmanaged<Session>.fromOpaque($0!).takeRetainedValue().run(); return nil
            }, box.toOpaque())
        pthread_detach(thread)
    }

    var options: [String] {
        let base = "http://127.0.0.1:\(self.port)"
        return ["--subscribe-url", base + "/{channels}", "--publish-url", base + "/{channel}"]
    }

    func stop() { self.stopping.store(true, ordering: .relaxed) }

    private final class Session {
        struct Connection {
            var input: [UInt8] = []
            var channels: [String] = []
            var count = 0
            var held: [UInt8]?
            var missed: [[UInt8]] = []
            var isWaiting = false
        }

        let server: FakeServer
        let wrapping: Wrapping
        let faults: Faults
        var connections: [Int32: Connection] = [:]
        var deliveries = 0
        var publishes = 0

        init(server: FakeServer, wrapping: Wrapping, faults: Faults) {
            self.server = server
            self.wrapping = wrapping
            self.faults = faults
        }

        func run() {
            while !self.server.stopping.load(ordering: .relaxed) {
                var pollers = [self.server.listener] + self.connections.keys
                pollers.sort()
                var set = pollers.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
                _ = poll(&set, nfds_t(set.count), 20)
                for entry in set where entry.revents != 0 {
                    if entry.fd == self.server.listener {
                        self.connections[accept(entry.fd, nil, nil)] = Connection()
                    } else {
                        self.read(entry.fd)
                    }
                }
            }
            for descriptor in self.connections.keys { close(descriptor) }
            close(self.server.listener)
        }

        func read(_ descriptor: Int32) {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else {
                close(descriptor)
                self.connections[descriptor] = nil
                return
            }
            if self.wrapping == .webSocket, !self.connections[descriptor]!.channels.isEmpty {
                if buffer[0] == 0x8A, buffer[1] == 0x82, buffer[6] == 104 { self.server.pongs.add(1, ordering: .relaxed) }
                return
            }
            self.connections[descriptor]!.input += buffer[0..<count]
            while let request = self.nextRequest(descriptor) { self.handle(descriptor, request.line, request.body) }
        }

        func nextRequest(_ descriptor: Int32) -> (line: String, body: [UInt8])? {
            let input = self.connections[descriptor]!.input
            let text = String(decoding: input, as: UTF8.self)
            guard let end = text.firstRange(of: "\r\n\r\n") else { return nil }
            let head = text[..<end.lowerBound]
            var length = 0
            for line in head.split(separator: "\r\n") where line.hasPrefix("Content-Length: ") { length = Int(line.dropFirst(16)) ?? 0 }
            let start = head.utf8.count + 4
            guard input.count >= start + length else { return nil }
            self.connections[descriptor]!.input.removeFirst(start + length)
            return (String(head.prefix { $0 != "\r\n" }), Array(input[start..<(start + length)]))
        }

        func handle(_ descriptor: Int32, _ line: String, _ body: [UInt8]) {
            let words = line.split(separator: " ")
            let names = words[1].split(separator: "?")[0].split(separator: "/").map(String.init)
            if words[0] == "GET" { return self.subscribe(descriptor, names) }
            for (subscriber, connection) in self.connections where connection.channels.contains(names[0]) { self.deliver(body, to: subscriber) }
            self.publishes += 1
            let lies = self.faults.liesEvery > 0 && self.publishes % self.faults.liesEvery == 0
            self.send(Array("HTTP/1.1 \(lies ? "503 Busy" : "200 OK")\r\nContent-Length: 2\r\n\r\n{}".utf8), to: descriptor)
        }

        func subscribe(_ descriptor: Int32, _ names: [String]) {
            self.connections[descriptor]!.channels = names
            switch self.wrapping {
            case .sse: self.send(Array("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n".utf8), to: descriptor)
            case .chunked: self.send(Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".utf8), to: descriptor)
            case .webSocket:
                self.send(Array("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".utf8) + [0x89, 2, 104, 105], to: descriptor)
            case .longPoll:
                self.connections[descriptor]!.isWaiting = true
                self.respondToPoll(descriptor)
            }
        }

        func deliver(_ payload: [UInt8], to descriptor: Int32) {
            self.deliveries += 1
            self.connections[descriptor]!.count += 1
            if self.faults.dropsEvery > 0, self.deliveries % self.faults.dropsEvery == 0 {
                self.server.dropped.add(1, ordering: .relaxed)
                return
            }
            if let held = self.connections[descriptor]!.held {
                self.connections[descriptor]!.held = nil
                self.push(payload, to: descriptor)
                self.push(held, to: descriptor)
                self.server.swapped.add(1, ordering: .relaxed)
                return
            }
            if self.faults.swapsEvery > 0, self.connections[descriptor]!.count % self.faults.swapsEvery == 0 {
                self.connections[descriptor]!.held = payload
                return
            }
            self.push(payload, to: descriptor)
            if self.faults.repeatsEvery > 0, self.deliveries % self.faults.repeatsEvery == 0 {
                self.server.repeated.add(1, ordering: .relaxed)
                self.push(payload, to: descriptor)
            }
        }

        func push(_ payload: [UInt8], to descriptor: Int32) {
            switch self.wrapping {
            case .sse:
                self.send(Array("id: 1\ndata: ".utf8) + payload + [10, 10], to: descriptor)
            case .chunked:
                let cut = Int.random(in: 1..<payload.count)
                for part in [payload[..<cut], payload[cut...]] {
                    self.send(Array("\(String(part.count, radix: 16))\r\n".utf8) + part + [13, 10], to: descriptor)
                }
            case .webSocket:
                self.send([0x81, UInt8(payload.count)] + payload, to: descriptor)
            case .longPoll:
                self.connections[descriptor]!.missed.append(payload)
                self.respondToPoll(descriptor)
            }
        }

        func respondToPoll(_ descriptor: Int32) {
            let connection = self.connections[descriptor]!
            guard connection.isWaiting, !connection.missed.isEmpty else { return }
            self.connections[descriptor]!.isWaiting = false
            self.connections[descriptor]!.missed = []
            let body = Array(#"{"events":["#.utf8) + connection.missed.joined(separator: [44]) + Array(#"],"cursor":"c1"}"#.utf8)
            self.send(Array("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body, to: descriptor)
        }

        func send(_ bytes: [UInt8], to descriptor: Int32) { _ = Socket.send(bytes, to: descriptor) }
    }
}
