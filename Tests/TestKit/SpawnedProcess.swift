import Foundation
import Synchronization

#if canImport(Glibc)
    public import Glibc
#endif

/// A child process. The kernel kills the child whenever this process ends.
///
/// The kernel kills the child when the thread that spawned it ends. So one thread, which never ends, spawns all children.
public final class SpawnedProcess: Sendable {
    public let pid: pid_t
    private let hasExited = Mutex(false)

    public init(_ arguments: [String], log: String) throws {
        let command = ["/usr/bin/setpriv", "--pdeathsig", "KILL"] + arguments
        let result = Spawner.shared.run { Self.spawn(command, log: log) }
        guard let pid = result else { throw Failure(command: command) }
        self.pid = pid
    }

    deinit {
        self.kill()
    }

    public struct Failure: Error {
        public let command: [String]
    }

    public func signal(_ signal: Int32) {
        self.hasExited.withLock { if !$0 { _ = Glibc.kill(self.pid, signal) } }
    }

    /// Stops the process with SIGSTOP, and returns when its last thread has stopped. On a busy machine a thread may still send something until it stops.
    public func stop() {
        self.signal(SIGSTOP)
        let threads = "/proc/\(self.pid)/task"
        let hasStopped: (String) -> Bool = { thread in
            // The line is `pid (name) state ...`, and the name may contain any characters.
            guard let line = try? String(contentsOfFile: "\(threads)/\(thread)/stat", encoding: .utf8) else { return true }
            return line.split(separator: ")").last.map { $0.hasPrefix(" T") || $0.hasPrefix(" Z") } ?? true
        }
        while let all = try? FileManager.default.contentsOfDirectory(atPath: threads), !all.allSatisfy(hasStopped) { usleep(1000) }
    }

    /// Kills the process and waits until it has exited.
    public func kill() {
        self.hasExited.withLock { hasExited in
            guard !hasExited else { return }
            _ = Glibc.kill(self.pid, SIGKILL)
            waitpid(self.pid, nil, 0)
            hasExited = true
        }
    }

    /// Whether the process has ended by itself, or was killed.
    public var hasEnded: Bool {
        self.hasExited.withLock { hasExited in
            if !hasExited { hasExited = waitpid(self.pid, nil, WNOHANG) == self.pid }
            return hasExited
        }
    }

    private static func spawn(_ command: [String], log: String) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Otherwise the child inherits the sockets of every client and listener of this process, and keeps them open. Closing what is not open is no error.
        for descriptor in Int32(3)..<1024 { posix_spawn_file_actions_addclose(&actions, descriptor) }
        var arguments = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        return posix_spawn(&pid, command[0], &actions, nil, &arguments, environ) == 0 ? pid : nil
    }
}

/// Runs closures on a thread that never ends.
private final class Spawner: Sendable {
    static let shared = Spawner()

    private let jobs = Mutex<[@Sendable () -> Void]>([])
    private let ready = DispatchSemaphore(value: 0)

    private init() {
        Thread.detachNewThread { [self] in
            while true {
                self.ready.wait()
                self.jobs.withLock { $0.removeFirst() }()
            }
        }
    }

    func run(_ body: @escaping @Sendable () -> pid_t?) -> pid_t? {
        let done = DispatchSemaphore(value: 0)
        let result = Mutex<pid_t?>(nil)
        self.jobs.withLock {
            $0.append {
                let pid = body()
                result.withLock { $0 = pid }
                done.signal()
            }
        }
        self.ready.signal()
        done.wait()
        return result.withLock { $0 }
    }
}
