#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// A thread that runs the jobs of one actor in order, and calls a timer function (`onAlarm`) between the jobs.
///
/// A handle of the C client needs its own thread for two reasons. First, a call takes no reference on the handle. So all calls and `zookeeper_close` must run
/// on one executor, or a call could use a freed handle. Second, `zookeeper_init` (resolves names) and `zookeeper_close` (up to 4.5 s) block. The cooperative
/// pool must not be blocked.
///
/// The thread ends when the last reference to this object is released. Each waiting job holds a reference, so no job is lost.
final class ZooKeeperThread: SerialExecutor {
    private let queue: Queue

    /// Returns nil if the system cannot create a thread now. A later attempt may succeed.
    ///
    /// - Parameters:
    ///   - stackBytes: the size of the stack. Nil means pthread's default. Tests set a value that is too large, so that the system refuses the thread.
    ///   - onAlarm: runs on the thread, at or after the time of ``wake(at:)``. Returns the time of the next alarm.
    init?(stackBytes: Int? = nil, onAlarm: @escaping @Sendable (ContinuousClock.Instant) -> ContinuousClock.Instant?) {
        self.queue = Queue(onAlarm: onAlarm)
        guard self.queue.start(stackBytes) else { return nil }
    }

    deinit {
        self.queue.stop()
    }

    func enqueue(_ job: consuming ExecutorJob) {
        self.queue.append(Queue.Item(job: UnownedJob(job), executor: self))
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor {
        UnownedSerialExecutor(ordinary: self)
    }

    /// Sets the alarm, unless it is set to an earlier time. Callable from any thread.
    func wake(at time: ContinuousClock.Instant) {
        self.queue.wake(at: time)
    }
}

extension ZooKeeperThread {
    /// State that the thread and its owner share.
    ///
    /// `@unchecked Sendable`, because the compiler does not know pthread. `items`, `alarm` and `stopped` are used only while `mutex` is locked.
    /// Everything else is immutable.
    private final class Queue: @unchecked Sendable {
        struct Item {
            let job: UnownedJob
            /// Keeps the executor alive until its job has run.
            let executor: ZooKeeperThread
        }

        private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
        private let onAlarm: @Sendable (ContinuousClock.Instant) -> ContinuousClock.Instant?
        private var items: [Item] = []
        private var alarm: ContinuousClock.Instant?
        private var stopped = false

        /// The condition's clock stops while the computer is suspended, but deadlines do not. So while an alarm is set, one wait is at most this long.
        private static let waitNanosecondsMax = 500_000_000

        init(onAlarm: @escaping @Sendable (ContinuousClock.Instant) -> ContinuousClock.Instant?) {
            self.onAlarm = onAlarm
            pthread_mutex_init(self.mutex, nil)
            var attributes = pthread_condattr_t()
            pthread_condattr_init(&attributes)
            pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
            pthread_cond_init(self.condition, &attributes)
            pthread_condattr_destroy(&attributes)
        }

        deinit {
            pthread_cond_destroy(self.condition)
            pthread_mutex_destroy(self.mutex)
            self.condition.deallocate()
            self.mutex.deallocate()
        }

        func start(_ stackBytes: Int?) -> Bool {
            var attributes = pthread_attr_t()
            pthread_attr_init(&attributes)
            defer { pthread_attr_destroy(&attributes) }
            if let stackBytes { pthread_attr_setstacksize(&attributes, stackBytes) }
            let context = Unmanaged.passRetained(self)
            return withUnsafeTemporaryAllocation(of: pthread_t.self, capacity: 1) { thread in
                let result = pthread_create(
                    thread.baseAddress!, &attributes,
                    { context in
                        Unmanaged<Queue>.fromOpaque(context!).takeRetainedValue().run()
                        return nil
                    }, context.toOpaque())
                if result == 0 { pthread_detach(thread[0]) } else { context.release() }
                return result == 0
            }
        }

        func append(_ item: Item) {
            self.change { self.items.append(item) }
        }

        func stop() {
            self.change { self.stopped = true }
        }

        func wake(at time: ContinuousClock.Instant) {
            pthread_mutex_lock(self.mutex)
            defer { pthread_mutex_unlock(self.mutex) }
            if let alarm = self.alarm, alarm <= time { return }
            self.alarm = time
            pthread_cond_signal(self.condition)
        }

        private func change(_ body: () -> Void) {
            pthread_mutex_lock(self.mutex)
            body()
            pthread_cond_signal(self.condition)
            pthread_mutex_unlock(self.mutex)
        }

        private func run() {
            while true {
                pthread_mutex_lock(self.mutex)
                while self.items.isEmpty, !self.stopped, !self.alarmIsDue { self.wait() }
                var batch: [Item] = []
                swap(&batch, &self.items)
                let due = self.alarmIsDue
                if due { self.alarm = nil }
                let finished = self.stopped && batch.isEmpty
                pthread_mutex_unlock(self.mutex)
                if finished { return }
                for item in batch { item.job.runSynchronously(on: item.executor.asUnownedSerialExecutor()) }
                if due, let next = self.onAlarm(.now) { self.wake(at: next) }
            }
        }

        private var alarmIsDue: Bool {
            self.alarm.map { $0 <= .now } ?? false
        }

        private func wait() {
            guard let alarm = self.alarm else {
                pthread_cond_wait(self.condition, self.mutex)
                return
            }
            let left = (alarm - .now).components
            let nanoseconds = left.seconds > 0 ? Self.waitNanosecondsMax : min(Self.waitNanosecondsMax, Int(left.attoseconds / 1_000_000_000) + 1)
            var until = timespec()
            clock_gettime(CLOCK_MONOTONIC, &until)
            until.tv_nsec += max(0, nanoseconds)
            until.tv_sec += until.tv_nsec / 1_000_000_000
            until.tv_nsec %= 1_000_000_000
            pthread_cond_timedwait(self.condition, self.mutex, &until)
        }
    }
}
