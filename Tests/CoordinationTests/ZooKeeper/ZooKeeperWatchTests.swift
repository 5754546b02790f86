@testable import Coordination
import TestKit
import Testing

@Suite struct ZooKeeperChangesTests {
    @Test func pathsThatFiredSinceTheLastReadAreReturnedTogether() async {
        let changes = ZooKeeperChanges()
        changes.mark(["/a", "/b"])
        changes.mark(["/b", "/c"])
        var iterator = changes.makeAsyncIterator()
        #expect(await iterator.next() == ["/a", "/b", "/c"])
        changes.mark([])
        changes.mark(["/a"])
        #expect(await iterator.next() == ["/a"])
        changes.finish()
        #expect(await iterator.next() == nil)
    }
}

extension ZooKeeperTests {
    @Suite struct Watches {
        @Test func eachKindOfWatchFiresOnceForItsPath() async throws {
            try await withSharedServer { running, root in
                _ = await running.perform(.create(path: root + "/a", data: [], ephemeral: false))
                _ = try await running.perform(.get(path: root + "/a", watch: true)).get()
                _ = try await running.perform(.exists(path: root + "/b", watch: true)).get()
                _ = try await running.perform(.children(path: root, watch: true)).get()
                _ = try await running.perform(.exists(path: root + "/unwatched", watch: false)).get()
                for path in ["/a", "/b"] {
                    _ = await running.perform(.create(path: root + path, data: [], ephemeral: false))
                    _ = await running.perform(.set(path: root + path, data: [1], version: nil))
                }
                _ = await running.perform(.create(path: root + "/unwatched", data: [], ephemeral: false))
                let all: Set<String> = [root, root + "/a", root + "/b"]
                try await eventually("\(running.changes)") { running.changes.reduce([]) { $0.union($1) } == all }
                let fired = running.changes.map(\.count).reduce(0, +)
                #expect(fired == 3)
                // A watch that is set again fires again. A watch that is not set again does not fire.
                _ = try await running.perform(.get(path: root + "/a", watch: true)).get()
                _ = await running.perform(.delete(path: root + "/a", version: nil))
                _ = await running.perform(.delete(path: root + "/b", version: nil))
                try await eventually("\(running.changes)") { running.changes.map(\.count).reduce(0, +) == 4 }
                #expect(running.changes.last == [root + "/a"])
            }
        }

        @Test func aChangeByAnotherClientFiresAWatch() async throws {
            try await withSharedServer { running, root in
                _ = try await running.perform(.get(path: root, watch: true)).get()
                try await withClient(ZooKeeperServer.shared().address) { other in
                    try await other.connected()
                    _ = try await other.perform(.set(path: root, data: [1], version: nil)).get()
                }
                try await eventually("\(running.changes)") { running.changes == [[root]] }
            }
        }

        @Test func aRefusedReadSetsNoWatch() async throws {
            try await withSharedServer { running, root in
                _ = await running.perform(.get(path: root + "/a", watch: true))
                _ = await running.perform(.create(path: root + "/a", data: [], ephemeral: false))
                _ = await running.perform(.exists(path: root + "/b", watch: true))
                _ = await running.perform(.create(path: root + "/b", data: [], ephemeral: false))
                try await eventually("\(running.changes)") { !running.changes.isEmpty }
                #expect(running.changes == [[root + "/b"]])
            }
        }
    }
}
