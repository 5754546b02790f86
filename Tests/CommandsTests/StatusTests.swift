import AdminAPI
import Testing

@testable import Commands

@Suite struct StatusTests {
    static let json = """
        {"node":{"id":"n1","version":"0.1.0","commit":"abc","pid":1,"started_at":"2026-01-01T00:00:00Z","uptime_seconds":3720,"state":"ready","loops":1},
         "listen":"127.0.0.1:8080","api":"127.0.0.1:8081",
         "log":{"kind":"sqlite","path":"/var/lib/realertime","durability":"process","state":"ready","error":null,"events":10,"bytes":2048,"channels":3},
         "subscribers":{"connections":2,"connections_max":19000,"subscriptions":3,"by_transport":{"sse":1,"websocket":1,"longpoll":0,"stream":0}},
         "rates":{"published_per_second":1.0,"delivered_per_second":2.0},
         "totals":{"published":10,"delivered":20,"duplicates":0,"gaps":0,"refused":0},
         "relay":{"waiting":4,"at_other_nodes":5,"sent_again":6,"expired":7,"unrouted_partitions":8,"connections_out":2,"connections_in":3,"edges_behind":1},
         "health":"degraded","reasons":["The disk is nearly full."]}
        """

    @Test func readsTheFieldsOfTheProtocol() throws {
        let status = try NodeStatus(json: Array(StatusTests.json.utf8))
        #expect(
            status.node.id == "n1" && status.subscribers.connectionsMax == 19_000
                && status.subscribers.byTransport[1] == .init(transport: "websocket", count: 1))
        #expect(status.exitStatus == .degraded)
        #expect(throws: CommandError.self) { try NodeStatus(json: Array("{}".utf8)) }
    }

    @Test func showsEveryField() throws {
        let plain = Terminal(descriptor: 1, isInteractive: false, noColour: nil, kind: nil)
        let table = try NodeStatus(json: Array(StatusTests.json.utf8)).table(on: plain)
        for text in [
            "n1", "degraded", "ready, up 1h 2m", "0.1.0 (abc)", "127.0.0.1:8080", "127.0.0.1:8081", "sqlite in /var/lib/realertime, durability process, ready",
            "10 events, 2.0 KiB, 3 channels", "2 of 19,000 (0.0 %)", "sse 1, websocket 1, longpoll 0, stream 0", "1.0/s, 10 in total", "2.0/s, 20 in total",
            "! The disk is nearly full.", "2 connections out, 3 in", "4 publishes wait for an owner, 5 for another node", "6 sent again, 7 expired",
            "1 edges behind", "8 partitions without an owner",
        ] {
            #expect(table.contains(text), "\(text)")
        }
        #expect(!table.contains("\u{1B}"))
        let column = table.split(separator: "\n").dropLast().map { line in line.distance(from: line.startIndex, to: line.lastIndex(of: "  ") ?? line.startIndex)
        }
        #expect(column.count == 15)
    }
}

extension Substring {
    /// The start of the last run of two spaces.
    fileprivate func lastIndex(of text: String) -> Index? { self.ranges(of: text).last?.lowerBound }
}
