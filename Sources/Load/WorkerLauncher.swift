import Glibc

/// Starts workers. A single worker is a thread of this process. Several workers are processes, because each process has its own descriptor limit.
enum WorkerLauncher {
    /// The descriptor of the socket pair in a worker process.
    static let linkDescriptor: Int32 = 3

    /// Starts a worker in a thread, so that the coordinator's timers do not wait for it.
    static func startThread(_ settings: LoadSettings, link: Int32) throws(LoadError) {
        let worker = try LoadWorker(settings: settings, index: 0, link: link)
        let box = Unmanaged.passRetained(WorkerBox(worker))
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                let box = Unmanaged<WorkerBox>.fromOpaque(argument!).takeRetainedValue()
                box.run()
                return nil
            }, box.toOpaque())
        guard result == 0 else {
            box.release()
            throw .failed("cannot start a thread for the worker (errno \(result))")
        }
        pthread_detach(thread)
    }

    /// Starts this program again with the same options, and two options for the worker.
    static func startProcess(index: Int, run: UInt32, link: Int32) throws(LoadError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, link, self.linkDescriptor)
        let words = CommandLine.arguments + ["--worker-index", "\(index)", "--worker-run", "\(run)"]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) }
        arguments.append(nil)
        defer { for argument in arguments { free(argument) } }
        var pid: pid_t = 0
        let result = posix_spawn(&pid, "/proc/self/exe", &actions, nil, arguments, environ)
        guard result == 0 else { throw .failed("cannot start a process for worker \(index) (errno \(result))") }
        return pid
    }
}

private final class WorkerBox {
    private var worker: LoadWorker

    init(_ worker: consuming LoadWorker) { self.worker = worker }

    func run() { self.worker.run() }
}
