import Coordination
import Testing

extension ZooKeeperTests {
    @Suite struct Requests {
        @Test func createReadsBackWithTheStatOfTheNewZnode() async throws {
            try await withSharedServer { running, root in
                let created = try await running.perform(.create(path: root + "/a", data: [1, 0, 255], ephemeral: true)).get()
                guard case .stat(let stat?) = created else { return #expect(Bool(false), "\(created)") }
                #expect(stat.czxid == stat.mzxid && stat.version == 0 && stat.ephemeralOwner == running.session)
                #expect(await running.perform(.get(path: root + "/a", watch: false)) == .success(.node(data: [1, 0, 255], stat: stat)))
                #expect(await running.perform(.exists(path: root + "/a", watch: false)) == .success(.stat(stat)))
            }
        }

        @Test func dataMayBeEmptyOrLarge() async throws {
            try await withSharedServer { running, root in
                let large = (0..<900_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
                for data in [[], large] {
                    let stat = try await running.perform(.set(path: root, data: data, version: nil)).get()
                    guard case .stat(let stat?) = stat else { return #expect(Bool(false), "\(stat)") }
                    #expect(await running.perform(.get(path: root, watch: false)) == .success(.node(data: data, stat: stat)))
                }
            }
        }

        @Test func setAndDeleteCheckTheVersion() async throws {
            try await withSharedServer { running, root in
                guard case .success(.stat(let stat?)) = await running.perform(.set(path: root, data: [1], version: 0)) else {
                    return #expect(Bool(false))
                }
                #expect(stat.version == 1 && stat.mzxid > stat.czxid)
                #expect(await running.perform(.set(path: root, data: [2], version: 0)) == .failure(.refused(.badVersion, part: nil)))
                #expect(await running.perform(.delete(path: root, version: 0)) == .failure(.refused(.badVersion, part: nil)))
                #expect(await running.perform(.delete(path: root, version: 1)) == .success(.done))
                #expect(await running.perform(.exists(path: root, watch: false)) == .success(.stat(nil)))
            }
        }

        @Test func childrenAreNamesWithoutTheirPath() async throws {
            try await withSharedServer { running, root in
                for name in ["b", "a", "ü"] { _ = try await running.perform(.create(path: "\(root)/\(name)", data: [], ephemeral: false)).get() }
                guard case .success(.children(let names, let stat)) = await running.perform(.children(path: root, watch: false)) else {
                    return #expect(Bool(false))
                }
                #expect(names.sorted() == ["a", "b", "ü"])
                #expect(stat.czxid > 0)
            }
        }

        @Test func eachRefusalNamesItsReason() async throws {
            try await withSharedServer { running, root in
                let missing = root + "/missing"
                func refusal(_ request: ZooKeeperRequest) async -> ZooKeeperFailure.Refusal? {
                    if case .failure(.refused(let refusal, part: nil)) = await running.perform(request) { refusal } else { nil }
                }
                #expect(await refusal(.get(path: missing, watch: true)) == .noNode)
                #expect(await refusal(.children(path: missing, watch: true)) == .noNode)
                #expect(await refusal(.set(path: missing, data: [], version: nil)) == .noNode)
                #expect(await refusal(.delete(path: missing, version: nil)) == .noNode)
                #expect(await refusal(.create(path: missing + "/b", data: [], ephemeral: false)) == .noNode)
                #expect(await refusal(.create(path: root, data: [], ephemeral: false)) == .nodeExists)
                _ = await running.perform(.create(path: root + "/e", data: [], ephemeral: true))
                #expect(await refusal(.delete(path: root, version: nil)) == .notEmpty)
                #expect(await refusal(.create(path: root + "/e/f", data: [], ephemeral: false)) == .noChildrenForEphemerals)
            }
        }

        @Test func aMalformedPathIsNotSent() async throws {
            try await withSharedServer { running, _ in
                #expect(await running.perform(.get(path: "no-slash", watch: false)) == .failure(.notSent(code: -8)))
                // The C client reports every invalid multi as a marshalling error.
                #expect(await running.perform(.multi([.check(path: "no-slash", version: nil)])) == .failure(.notSent(code: -5)))
            }
        }

        @Test func aMultiIsAtomic() async throws {
            try await withSharedServer { running, root in
                let won = await running.perform(
                    .multi([
                        .create(path: root + "/controller", data: [7], ephemeral: true),
                        .set(path: root, data: [8], version: 0),
                        .create(path: root + "/brief", data: [], ephemeral: false),
                        .delete(path: root + "/brief", version: 0),
                        .check(path: root, version: 1),
                    ]))
                guard case .success(.multi(let stats)) = won, stats.count == 5 else { return #expect(Bool(false), "\(won)") }
                #expect(stats[1]?.version == 1)
                #expect(stats.map { $0 == nil } == [true, false, true, true, true])
                let parts: [ZooKeeperRequest.Part] = [
                    .set(path: root, data: [9], version: 1), .create(path: root + "/controller", data: [], ephemeral: true),
                    .check(path: root, version: nil),
                ]
                #expect(await running.perform(.multi(parts)) == .failure(.refused(.nodeExists, part: 1)))
                guard case .success(.node(let data, let stat)) = await running.perform(.get(path: root, watch: false)) else {
                    return #expect(Bool(false))
                }
                #expect(data == [8] && stat.version == 1)
                #expect(await running.perform(.multi([])) == .success(.multi([])))
            }
        }

        @Test func aMultiMayContainOnlyChecks() async throws {
            try await withSharedServer { running, root in
                #expect(await running.perform(.multi([.check(path: root, version: nil)])) == .success(.multi([nil])))
                let outdated = ZooKeeperRequest.multi([.check(path: root, version: 0), .check(path: root, version: 3)])
                #expect(await running.perform(outdated) == .failure(.refused(.badVersion, part: 1)))
                #expect(await running.perform(.multi([.check(path: root + "/a", version: nil)])) == .failure(.refused(.noNode, part: 0)))
            }
        }

        @Test func aLateOrCancelledRequestIsNotSent() async throws {
            try await withSharedServer { running, root in
                let request = ZooKeeperRequest.create(path: root + "/a", data: [], ephemeral: false)
                guard case .failure(.notSent) = await running.perform(request, within: .zero) else { return #expect(Bool(false)) }
                let task = Task {
                    withUnsafeCurrentTask { $0?.cancel() }
                    return await running.perform(request)
                }
                guard case .failure(.notSent) = await task.value else { return #expect(Bool(false)) }
                #expect(await running.perform(.exists(path: root + "/a", watch: false)) == .success(.stat(nil)))
                let generation = running.generation
                #expect(await running.client.perform(request, generation: generation + 1, deadline: .now + .seconds(1)) == .failure(.sessionLost))
                #expect(await running.client.perform(request, generation: generation - 1, deadline: .now + .seconds(1)) == .failure(.sessionLost))
            }
        }

        @Test func noMoreThan512RequestsAreInFlight() async throws {
            try await withSharedServer { running, root in
                let results = await withTaskGroup(of: Result<ZooKeeperReply, ZooKeeperFailure>.self) { group in
                    for _ in 0..<2000 { group.addTask { await running.perform(.get(path: root, watch: false)) } }
                    var counts = (done: 0, refused: 0, other: 0)
                    for await result in group {
                        switch result {
                        case .success: counts.done += 1
                        case .failure(.notSent(code: -127)): counts.refused += 1
                        case .failure: counts.other += 1
                        }
                    }
                    return counts
                }
                #expect(results.done >= 512 && results.other == 0 && results.done + results.refused == 2000)
            }
        }
    }
}
