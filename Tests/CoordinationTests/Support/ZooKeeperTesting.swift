import Coordination
import Synchronization
import TestKit
import Testing

/// All tests with a real ZooKeeper server. They run one after the other: they share processors, and some count resources of the whole process.
@Suite(.serialized, .timeLimit(.minutes(10))) struct ZooKeeperTests {}

/// A running client, and everything that it has reported.
final class RunningClient: Sendable {
    let client: ZooKeeperClient
    private let seen = Mutex<[ZooKeeperState]>([])
    private let dirty = Mutex<[Set<String>]>([])

    fileprivate init(_ configuration: ZooKeeperConfiguration) {
        self.client = ZooKeeperClient(configuration: configuration)
    }

    fileprivate func record() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.client.run() }
            group.addTask { for await state in self.client.states { self.seen.withLock { $0.append(state) } } }
            group.addTask { for await paths in self.client.changes { self.dirty.withLock { $0.append(paths) } } }
        }
    }

    var states: [ZooKeeperState] { self.seen.withLock { $0 } }
    var changes: [Set<String>] { self.dirty.withLock { $0 } }
    var generation: UInt64 { self.states.last?.generation ?? 0 }

    /// The id of the session while the client is connected.
    var session: Int64? {
        if case .connected(let session, _) = self.states.last?.phase { session } else { nil }
    }

    /// Waits for the first state at or after an index in ``states``.
    @discardableResult
    func state(
        from index: Int = 0, within limit: Duration = .seconds(60), at location: SourceLocation = #_sourceLocation,
        where predicate: (ZooKeeperState) -> Bool
    ) async throws -> ZooKeeperState {
        var found: ZooKeeperState?
        try await eventually(within: limit, "No such state in \(self.states)", at: location) {
            found = self.states.dropFirst(index).first(where: predicate)
            return found != nil
        }
        return found!
    }

    @discardableResult
    func connected(from index: Int = 0, at location: SourceLocation = #_sourceLocation) async throws -> ZooKeeperState {
        try await self.state(from: index, at: location) { if case .connected = $0.phase { true } else { false } }
    }

    func perform(_ request: ZooKeeperRequest, within limit: Duration = .seconds(20)) async -> Result<ZooKeeperReply, ZooKeeperFailure> {
        await self.client.perform(request, generation: self.generation, deadline: .now + limit)
    }
}

/// Runs a client during the body, and closes the client afterwards.
func withClient(
    _ servers: String, _ change: (inout ZooKeeperConfiguration) -> Void = { _ in }, _ body: (RunningClient) async throws -> Void
) async throws {
    var configuration = ZooKeeperConfiguration(servers: servers)
    configuration.sessionTimeout = .seconds(2)
    configuration.backoffMin = .milliseconds(20)
    change(&configuration)
    let running = RunningClient(configuration)
    let recording = Task { await running.record() }
    do {
        try await body(running)
    } catch {
        await running.client.close()
        await recording.value
        throw error
    }
    await running.client.close()
    await recording.value
}

/// Runs the body with a client that is connected to the shared server, and with a new znode.
func withSharedServer(
    _ change: (inout ZooKeeperConfiguration) -> Void = { _ in }, _ body: (_ running: RunningClient, _ root: String) async throws -> Void
) async throws {
    try await withClient(ZooKeeperServer.shared().address, change) { running in
        try await running.connected()
        let root = Namespace.next()
        _ = try await running.perform(.create(path: root, data: [], ephemeral: false)).get()
        try await body(running, root)
    }
}

enum Namespace {
    private static let last = Mutex(0)

    static func next() -> String {
        self.last.withLock {
            $0 += 1
            return "/test-\($0)"
        }
    }
}
